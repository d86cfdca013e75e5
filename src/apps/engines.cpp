#include "apps/engines.h"

namespace bitsmith {

void add_engine_options(CLI::App& command, EngineChoice& options, bool has_torch) {
  command
      .add_option("--engine", options.engine,
                  has_torch ? "Arithmetic: torch (default, the reference) or runtime"
                            : "Arithmetic: runtime (this build has no LibTorch)")
      ->check(CLI::IsMember({"torch", "runtime"}));
  command
      .add_option("--dtype", options.dtype, "Of the torch engine: float32 (default) or bfloat16")
      ->check(CLI::IsMember({"float32", "bfloat16"}));
}

}  // namespace bitsmith
