// bitsmith compress: the whole pipeline, from a model to a smaller one and a table that judges it.
#include <memory>

#include "apps/cli_options.h"
#include "apps/command.h"
#include "apps/compressor/commands.h"
#include "apps/compressor/ranks.h"
#include "apps/compressor/training_data_options.h"
#include "apps/compressor_help.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/subprocess.h"
#include "pipeline/compressor/compress.h"

namespace bitsmith {
namespace {

// By bitsmith bench, which is in the other program.
Speed bench_in_own_process(const std::filesystem::path& model, const RunContext& context) {
  constexpr const char* kSource = "bitsmith bench";
  try {
    const Json bench = parse_json(
        output_of({beside_this_program("bitsmith").string(), "bench", "--threads",
                   std::to_string(context.threads), "--prompt-tokens", "128", "--generate-tokens",
                   "64", "--repeats", "2", "--quiet", "--json", "--", model.string()}),
        kSource);
    return {json_get<double>(bench, "tokens_per_second", kSource),
            json_get<uint64_t>(bench, "peak_memory_bytes", kSource)};
  } catch (const Error&) {
    if (context.cancelled()) throw Interrupted("judging was stopped; the same command judges anew");
    throw;
  }
}

struct CompressCommand {
  CommonOptions common;
  CompressJob job;

  void run() {
    refuse_ranks("compress");
    const RunContext context = run_context(common);
    job.measure_speed = [context](const std::filesystem::path& model) {
      return bench_in_own_process(model, context);
    };
    const CompressOutcome outcome = compress(job, context);
    const ByteSize& target = job.options.target_size;
    OrderedJson json = {{"out", job.out.string()}};
    if (target.bytes > 0) {
      json["target_size"] = target.bytes;
    } else {
      json["preset"] = job.options.preset;
    }
    if (!outcome.judgment) {
      json["finished_before"] = true;
      return print_result(common, json, outcome.table);
    }
    json["original"] = to_json(outcome.judgment->original);
    if (outcome.judgment->one_shot) json["one_shot"] = to_json(*outcome.judgment->one_shot);
    json["compressed"] = to_json(outcome.judgment->compressed);
    json.update(to_json(outcome.one_shot));
    json["seconds"] = outcome.seconds;
    json["peak_memory_bytes"] = peak_memory_bytes();
    print_result(common, json,
                 concat(outcome.table, "Took ", format_duration(outcome.seconds), " and ",
                        format_bytes(static_cast<double>(peak_memory_bytes())),
                        " of memory. Try: bitsmith run ", job.out.string()));
  }
};

}  // namespace

void add_compress(CLI::App& app) {
  auto command = std::make_shared<CompressCommand>();
  CompressJob& job = command->job;
  CLI::App& sub = *app.add_subcommand("compress", compress_help());
  sub.add_option("MODEL", job.model, "Hugging Face directory or GGUF file")->required();
  sub.add_option("-o,--out", job.out, "Result directory; work in progress is OUT.partial")
      ->required();
  sub.add_flag("--force", job.force, "Replace an existing OUT");
  add_options(sub, job.options);
  sub.get_option("--target-size")->excludes("--preset");
  add_training_data_options(sub, job.data, "--data-tokens");
  add_common_options(sub, command->common);
  sub.callback([command] { command->run(); });
}

}  // namespace bitsmith
