// bitsmith quantize: one-shot quantization of a model, block by block.

#include <cstdio>
#include <memory>

#include "apps/command.h"
#include "apps/layer_options.h"
#include "apps/training_data.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "compressor/model/torch_threads.h"
#include "compressor/quantize/model_card.h"
#include "compressor/quantize/quantize_model.h"
#include "compressor/tune/block_finetune.h"

namespace bitsmith {
namespace {

constexpr size_t kPrintedLayers = 15;

constexpr const char* kQuantizeHelp =
    "One-shot quantization: from a model and some text to a smaller model, block by block.\n"
    "  bitsmith quantize MODEL --representation aq2x8g8 -o out/aq2\n"
    "  bitsmith quantize MODEL --representation int4g64 --embedding 8 --data wiki.txt -o out/int4\n"
    "The representation says what a matrix becomes:\n"
    "  intBgG[-z]  uniform: B bits a weight, one scale for each G inputs (0: a whole row), -z "
    "adds\n"
    "              zero points. int8g64 is nearly lossless, int4g64 good, int2g64 poor\n"
    "  aqMxBgG[-sGxS]\n"
    "              additive (AQLM): G weights are the sum of M vectors, each from a codebook of "
    "2^B;\n"
    "              M * B / G bits a weight. aq2x8g8 has 2 bits, aq3x8g8 3; best at about 2 bits.\n"
    "              -s: a scale of S bits for each G weights besides\n"
    "  gvqDdBb[-nN][-tC|-tRxC][-sS][-c16][-rR]\n"
    "              codebook tiles (GPTVQ): vectors of D = 1, 2, 4 weights, B bits a weight, a\n"
    "              codebook for each N weights (default: it costs 1/8 bit a weight, with -s "
    "1/32), or\n"
    "              for each tile of R rows x C inputs; -s: a 4-bit scale for each S weights, -c16: "
    "fp16 codebooks.\n"
    "              gvq2d2b has 2.13 bits; best from 3 bits on with scales: gvq2d3b-s32 has 3.16\n"
    "  R+outP%, R+lrK\n"
    "              R and P percent of the weights in 16 bits (0.5 is 0.13 bits more), or R and a\n"
    "              product of two matrices of rank K\n"
    "Where it was interrupted, the same command goes on. bitsmith tune makes the result better.";

struct QuantizeCommand {
  CommonOptions common;
  TrainingDataOptions data;
  QuantizeModelOptions options;
  std::string model, out, representation, method;
  std::vector<std::string> overrides;
  BlockFinetuneOptions finetune;
  bool force = false;

  void run() {
    options.representation = parse_representation(representation);
    if (!method.empty()) options.method = parse_method(method, options.representation);
    for (const std::string& text : overrides) options.overrides.push_back(parse_override(text));
    options.layer.seed = finetune.seed = common.seed;
    const int threads = resolved_threads(common);
    set_torch_threads(threads);
    check_work_folder(out, force);
    const auto files = ModelFiles::open(model);
    check_quantize_request(*files, options, threads);
    const bool wants_data =
        !data.files.empty() || finetune.epochs > 0 || needs_calibration(*files, options);
    OrderedJson request = {{"command", "quantize"}, {"data", "none"}};
    if (wants_data) request["data"] = training_data_request(*files, data, common.seed);
    BlockFinetuner finetuner;
    if (finetune.epochs > 0) {
      request["finetune"] = to_json(finetune);
      finetuner = block_finetuner(finetune);
    }
    WorkFolder work(out, force, quantize_request(*files, options, request));
    TokenDataset dataset;
    if (wants_data && !work.published()) {
      // Before text is written for minutes.
      check_resources(*files, options, work, data.tokens, window_length(*files, data));
      dataset = load_training_data(*files, data, threads, common.seed);
      if (needs_calibration(*files, options)) warn_of_few_tokens(*files, dataset);
    }
    report(quantize_model(files, dataset, options, work, work.log("quantize"), finetuner), dataset);
  }

  // REGEX=R; R holds no '='.
  static std::pair<std::string, RepresentationSpec> parse_override(const std::string& text) {
    const size_t equals = text.rfind('=');
    if (equals == std::string::npos || equals == 0)
      throw UsageError(
          concat("--override '", text, "' is not REGEX=R, for example ", "'down_proj=int4g64'"));
    return {text.substr(0, equals), parse_representation(text.substr(equals + 1))};
  }

  void report(const QuantizeModelResult& result, const TokenDataset& dataset) const {
    const LayerSummary* worst = nullptr;
    double mean = 0;
    for (const LayerSummary& layer : result.layers) {
      mean += layer.relative_error / static_cast<double>(result.layers.size());
      if (!worst || layer.relative_error > worst->relative_error) worst = &layer;
    }
    const OrderedJson json = {{"out", out},
                              {"representation", representation},
                              {"bits", result.decoder_bits},
                              {"file_bits", result.file_bits},
                              {"file_bytes", result.file_bytes},
                              {"relative_error", mean},
                              {"worst_relative_error", worst->relative_error},
                              {"worst_module", worst->module},
                              {"tokens", dataset.train.numel()},
                              {"windows", dataset.train.size(0)},
                              {"seconds", result.seconds},
                              {"peak_memory_bytes", peak_memory_bytes()}};
    char summary[300];
    std::snprintf(summary, sizeof(summary),
                  "%.3f bits a decoder weight, %.3f a weight of the whole file, %s of weights\n"
                  "mean relative error %.3g; took %s and %s of memory",
                  result.decoder_bits, result.file_bits,
                  format_bytes(static_cast<double>(result.file_bytes)).c_str(), mean,
                  format_duration(result.seconds).c_str(),
                  format_bytes(static_cast<double>(peak_memory_bytes())).c_str());
    print_result(common, json,
                 concat(layer_table(result.layers, kPrintedLayers), "\n", out, ": ", summary));
  }
};

}  // namespace

void add_quantize(CLI::App& app) {
  auto command = std::make_shared<QuantizeCommand>();
  CLI::App& sub = *app.add_subcommand("quantize", kQuantizeHelp);
  QuantizeModelOptions& o = command->options;
  sub.add_option("MODEL", command->model, "The original: Hugging Face directory or GGUF file")
      ->required();
  sub.add_option("--representation", command->representation,
                 "What the blocks' matrices become: intBgG[-z], aqMxBgG[-sGxS] or gvqDdBb[...]")
      ->required();
  sub.add_option("-o,--out", command->out, "Result directory; work in progress is OUT.partial")
      ->required();
  sub.add_flag("--force", command->force, "Replace an existing OUT");
  sub.add_option("--method", command->method,
                 "rtn: nearest codes, in seconds and without text; gptq: for int*; aqlm: for aq*; "
                 "gptvq: for gvq* (default: not "
                 "rtn)");
  add_training_data_options(sub, command->data, "--calibration-tokens");
  sub.add_option("--keep", o.keep,
                 "Leave matrices whose name matches this regular expression dense; may repeat");
  sub.add_option("--override", command->overrides,
                 "REGEX=R: give matching matrices another representation; the last match wins");
  sub.add_option("--embedding", o.embedding_bits,
                 "Bits of embedding and head: 16, or 8 and 4 with a scale for each 64 or 32 "
                 "inputs at most")
      ->check(CLI::IsMember({16, 8, 4}))
      ->capture_default_str();
  add_layer_options(sub, o.layer);
  sub.add_option(
         "--cross-term", o.cross_term,
         "What a layer's outputs should be: 0: those of the original layer on the quantized "
         "model's inputs (half the forward passes); 1: those of the original model; or between")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  sub.add_flag("--true-sequential", o.true_sequential,
               "Within a block, each matrix gets its inputs through those quantized before it also "
               "where there is no cross term");
  sub.add_option("--finetune-epochs", command->finetune.epochs,
                 "After each block is quantized, train its codebooks, scales and norms on the "
                 "original block's outputs, for this many epochs at most (0: not)")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  sub.add_option("--finetune-rate", command->finetune.learning_rate,
                 "Its step, in units of each tensor's root mean square")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  sub.add_option("--dtype", o.dtype,
                 "Of the blocks' forward passes: float32, or bfloat16 (half the memory)")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  sub.add_option("--stop-after-blocks", o.stop_after_blocks,
                 "Quantize the first N blocks only and leave the others dense (0: all); to try "
                 "options on a large model")
      ->check(at_least(0))
      ->capture_default_str();
  add_common_options(sub, command->common);
  sub.callback([command] { command->run(); });
}

}  // namespace bitsmith
