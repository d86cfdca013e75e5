// The two kinds of model that Checkpoint::open() knows.
#pragma once
#include <filesystem>
#include <memory>

#include "checkpoint/checkpoint.h"

namespace bitsmith {

// A directory with config.json and safetensors, dense or quantised.
std::shared_ptr<const Checkpoint> open_hugging_face(const std::filesystem::path& folder);
// A GGUF file of a supported architecture.
std::shared_ptr<const Checkpoint> open_gguf_model(const std::filesystem::path& path);

}  // namespace bitsmith
