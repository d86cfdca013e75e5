// bitsmith logits: what a model says about a sequence of token ids, for comparing engines.
#include <chrono>
#include <memory>

#include "apps/command.h"
#include "apps/engines.h"
#include "base/error.h"
#include "base/files.h"
#include "checkpoint/safetensors.h"

namespace bitsmith {
namespace {

struct LogitsCommand {
  Engines engines;
  CommonOptions common = {};
  EngineChoice engine = {};
  std::string model = {}, out = {};
  std::vector<int32_t> ids = {};
  bool force = false;

  void run() const {
    const EngineChoice resolved = resolve_engine(engine, engines.has_torch);
    if (std::filesystem::exists(out) && !force) {
      throw UsageError(concat(out, " exists; give another name, or --force to replace it"));
    }
    const EngineLoader load = engines.loader(resolved);
    const auto start = std::chrono::steady_clock::now();
    const auto loaded = load(model, run_context(common));
    const auto tokens = static_cast<int64_t>(ids.size());
    std::vector<float> logits(static_cast<size_t>(tokens * loaded->vocab_size()));
    loaded->run(ids);
    loaded->logits(0, tokens, logits);
    const TensorView view{
        "logits", DType::F32, {tokens, loaded->vocab_size()}, std::as_bytes(std::span(logits))};
    write_safetensors(out, {view});
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    print_result(common,
                 {{"out", out},
                  {"engine", resolved.engine},
                  {"tokens", tokens},
                  {"vocab_size", loaded->vocab_size()},
                  {"seconds", seconds},
                  {"peak_memory_bytes", peak_memory_bytes()}},
                 concat(out, ": logits ", shape_string(view.shape), " in float32"));
  }
};

}  // namespace

void add_logits(CLI::App& app, const Engines& engines) {
  const auto command = std::make_shared<LogitsCommand>(LogitsCommand{engines});
  CLI::App* sub = app.add_subcommand("logits", "Logits of a token sequence, as safetensors");
  sub->add_option(
         "MODEL", command->model,
         "Hugging Face directory, GGUF file, Bitsmith directory or, with --engine runtime, "
         "packed model")
      ->required();
  sub->add_option("--ids", command->ids, "Token ids: 1,2,3")->delimiter(',')->required();
  sub->add_option("-o,--out", command->out, "File for the float32 tensor 'logits' [tokens, vocab]")
      ->required();
  add_engine_options(*sub, command->engine, engines.has_torch);
  sub->add_flag("--force", command->force, "Replace an existing OUT");
  add_common_options(*sub, command->common);
  sub->callback([command] { command->run(); });
}

}  // namespace bitsmith
