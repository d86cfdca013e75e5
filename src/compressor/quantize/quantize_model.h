// One-shot quantization of a whole model, block by block: peak memory is one block, its activations
// and its Hessians. The activations of the already quantized prefix feed the next block (AQLM,
// appendix; GPTQ).
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "compressor/calibration/token_dataset.h"
#include "compressor/quantize/block_finetuner.h"
#include "compressor/quantize/quantizer.h"
#include "format/quantized_checkpoint.h"
#include "format/work_folder.h"

namespace bitsmith {

struct QuantizeModelOptions {
  RepresentationSpec representation;
  std::optional<Method> method;   // default: each representation's own
  std::vector<std::string> keep;  // regexes over module names: left dense
  std::vector<std::pair<std::string, RepresentationSpec>>
      overrides;            // regex -> R; the last match wins
  int embedding_bits = 16;  // 16, 8 or 4: embedding and head
  QuantizeOptions layer;
  // What a layer's outputs should be: 1: the original model's own (input_drift()); 0: the
  // original layer's on the quantized model's inputs (AQLM, GPTQ, GPTVQ); or between.
  double cross_term = 0.5;
  // Within a block each site's inputs come through the matrices quantized before it, instead of
  // through the original block. A cross term wants it: else what one matrix has already made good
  // would be made good again by the next.
  bool true_sequential = false;
  bool sequential() const { return true_sequential || cross_term > 0; }
  std::string dtype = "float32";  // of the blocks' forward passes: "float32" or "bfloat16"
  int64_t batch_tokens = 4096;    // activations run at a time
  int64_t stop_after_blocks = 0;  // quantize only the first N blocks (0: all); the rest stay dense
};

struct LayerSummary {
  std::string module;
  std::string representation, method;
  double relative_error, bits, seconds;
};

struct QuantizeModelResult {
  std::vector<LayerSummary> layers;  // in model order
  double decoder_bits = 0, file_bits = 0;
  uint64_t file_bytes = 0;
  double seconds = 0;
};

// All that can be refused without data and without the work folder: options that the model forbids,
// a model that is quantized already, a tokenizer that the result could not carry, weights that are
// not finite or do not fit 16-bit scales (all are read once). Throws UsageError or Error.
void check_quantize_request(const ModelFiles& files, const QuantizeModelOptions& options,
                            int threads);

// What a work folder keeps of the request: `request` (command, data, fine-tuning) with the model
// and every option added. bitsmith.json begins with it.
OrderedJson quantize_request(const ModelFiles& files, const QuantizeModelOptions& options,
                             OrderedJson request);

// Whether any matrix goes to a method that learns from activations: all but RTN do. Where none
// does, quantize_model() takes an empty dataset and runs no block.
bool needs_calibration(const ModelFiles& files, const QuantizeModelOptions& options);

// Throws Error where memory or disk are not enough for `tokens` tokens of calibration text in
// windows of `length` (0, 0: none).
void check_resources(const ModelFiles& files, const QuantizeModelOptions& options,
                     const WorkFolder& work, int64_t tokens, int64_t length);

// An estimate of wall time: it grows with the tokens from what the matrices take.
struct QuantizeTime {
  double fixed_seconds = 0, seconds_per_token = 0;
  double seconds(int64_t tokens) const {
    return fixed_seconds + seconds_per_token * static_cast<double>(tokens);
  }
};
// Runs each method on small matrices and one matrix product to learn this machine's speed
// (seconds).
QuantizeTime quantize_time(const ModelFiles& files, const QuantizeModelOptions& options);

// Where `work` was published by an earlier run of the same request, its result; else quantizes.
// Finished blocks lie in `work`, one safetensors file each; the same request goes on with them and
// ends with the same bytes. Stages of every layer, with times, are appended to `log` (JSON lines).
// On SIGINT finishes nothing more and throws Interrupted. `finetune`, when given, trains each block
// after its matrices are quantized.
QuantizeModelResult quantize_model(std::shared_ptr<const ModelFiles> files,
                                   const TokenDataset& data, const QuantizeModelOptions& options,
                                   WorkFolder& work, const std::filesystem::path& log,
                                   const BlockFinetuner& finetune = {});
// The result that lies in a directory made by quantize_model().
QuantizeModelResult read_quantize_result(const std::filesystem::path& out);

}  // namespace bitsmith
