// bitsmith-compressor: the commands that need LibTorch. bitsmith starts it.
#include "apps/compressor/commands.h"
#include "apps/compressor/ranks.h"
#include "apps/engines.h"
#include "apps/program.h"
#include "compressor/model/torch_language_model.h"
#include "runtime/runtime_language_model.h"

namespace bitsmith {
namespace {

EngineLoader loader(const EngineChoice& engine) {
  if (engine.engine == "runtime") return load_runtime_language_model;
  const DType dtype = engine.dtype == "bfloat16" ? DType::BF16 : DType::F32;
  return [dtype](const std::filesystem::path& model, const RunContext& context) {
    return load_torch_language_model(model, dtype, context.threads);
  };
}

void add_commands(CLI::App& app) {
  const Engines engines{.has_torch = true, .loader = loader};
  add_compress(app);
  add_logits(app, engines);
  add_quantize(app);
  add_hessian(app);
  add_layer(app);
  add_tune(app);
  add_eval(app, engines);
}

}  // namespace
}  // namespace bitsmith

int main(int argc, char** argv) {
  return bitsmith::end_ranks(bitsmith::run_program(argc, argv, bitsmith::add_commands));
}
