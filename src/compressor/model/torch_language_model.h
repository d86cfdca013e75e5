// LibTorch's decoder behind the judging interface.
#pragma once
#include <filesystem>
#include <memory>

#include "checkpoint/tensor_view.h"
#include "evaluate/language_model.h"

namespace bitsmith {

// dtype F32 or BF16.
std::unique_ptr<LanguageModel> load_torch_language_model(const std::filesystem::path& model,
                                                         DType dtype, int threads);

}  // namespace bitsmith
