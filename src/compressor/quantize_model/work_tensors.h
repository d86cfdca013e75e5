// Tensors that a stage of the work leaves in the work folder, for a run that goes on.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"

namespace bitsmith {

// "block-00012".
std::string numbered_name(const std::string& stem, int64_t number);

// Atomic. `request_hash` is that of the request (model, data, options) that the file belongs to;
// it and a checksum of the tensors are added to the metadata.
void write_work_tensors(const std::filesystem::path& path, const std::vector<TensorView>& tensors,
                        std::map<std::string, std::string> metadata,
                        const std::string& request_hash);

// Throws Error where the file is damaged or belongs to other work.
SafetensorsFile open_work_tensors(const std::filesystem::path& path,
                                  const std::string& request_hash);

// A value of the metadata; Error where it is missing.
const std::string& work_value(const SafetensorsFile& file, const char* key,
                              const std::filesystem::path& path);

}  // namespace bitsmith
