// `bitsmith pack`: a model's weights laid out for the kernels, once and for all (docs/packed.md).
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/run_context.h"

namespace bitsmith {

struct PackResult {
  std::string isa;  // whose kernels
  uint64_t model_bytes = 0, file_bytes = 0;
};

// Writes `out` for the kernels of this process (selected_isa()). Needs the memory that the loaded
// model needs. Throws OutputExists when `out` is there without `force`; UsageError when it is there
// and no packed model; Error for a model that cannot be read and for a disk without room;
// Interrupted, without a trace of the work. Before the work where that can be known.
PackResult pack_model(const std::filesystem::path& model, const std::filesystem::path& out,
                      bool force, const RunContext& context);

}  // namespace bitsmith
