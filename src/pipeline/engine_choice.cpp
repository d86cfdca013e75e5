#include "pipeline/engine_choice.h"

#include "base/error.h"
#include "runtime/runtime_language_model.h"
#ifdef BITSMITH_COMPRESSOR
#include "compressor/model/torch_language_model.h"
#endif

namespace bitsmith {

#ifdef BITSMITH_COMPRESSOR
const bool kHasTorch = true;
#else
const bool kHasTorch = false;
#endif

EngineChoice resolve_engine(const EngineChoice& options) {
  EngineChoice resolved = options;
  if (resolved.engine.empty()) resolved.engine = kHasTorch ? "torch" : "runtime";
  if (resolved.engine == "torch") {
    if (!kHasTorch)
      throw UsageError("--engine torch: this is a runtime-only build; use --engine runtime");
    if (resolved.dtype.empty()) resolved.dtype = "float32";
  } else if (!resolved.dtype.empty()) {
    throw UsageError("--dtype is for --engine torch; the runtime chooses its own arithmetic");
  }
  return resolved;
}

std::unique_ptr<LanguageModel> load_engine(const EngineChoice& resolved,
                                           const std::filesystem::path& model,
                                           const RunContext& context) {
#ifdef BITSMITH_COMPRESSOR
  if (resolved.engine == "torch") {
    const DType dtype = resolved.dtype == "bfloat16" ? DType::BF16 : DType::F32;
    return load_torch_language_model(model, dtype, context.threads);
  }
#endif
  BITSMITH_CHECK(resolved.engine == "runtime");
  return load_runtime_language_model(model, context);
}

}  // namespace bitsmith
