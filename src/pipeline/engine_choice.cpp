#include "pipeline/engine_choice.h"

#include "base/error.h"

namespace bitsmith {

EngineChoice resolve_engine(const EngineChoice& options, bool has_torch) {
  EngineChoice resolved = options;
  if (resolved.engine.empty()) resolved.engine = has_torch ? "torch" : "runtime";
  if (resolved.engine == "torch") {
    if (!has_torch)
      throw UsageError("--engine torch: this is a runtime-only build; use --engine runtime");
    if (resolved.dtype.empty()) resolved.dtype = "float32";
  } else if (!resolved.dtype.empty()) {
    throw UsageError("--dtype is for --engine torch; the runtime chooses its own arithmetic");
  }
  return resolved;
}

}  // namespace bitsmith
