// One-shot quantization of a whole model, block by block: peak memory is one block, its activations
// and its Hessians. The activations of the already quantized prefix feed the next block (AQLM,
// appendix; GPTQ).
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/run_context.h"
#include "compressor/calibration/token_dataset.h"
#include "compressor/quantize/quantizer.h"
#include "compressor/quantize_model/block_finetuner.h"
#include "compressor/quantize_model/calibration_gap.h"
#include "compressor/quantize_model/quantize_model_options.h"
#include "format/quantized_checkpoint.h"
#include "format/work_folder.h"

namespace bitsmith {

// What became of a matrix's output factor where the objective is Kronecker.
struct OutputFactorSummary {
  std::string used;  // "full", or without it "diagonal" (--row-weights) or "identity"
  double held_out_cost, shrinkage;  // objective/output_factor.h
};

struct LinearSummary {
  std::string module;
  std::string representation, method;
  double relative_error = 0, bits = 0, seconds = 0;
  std::optional<int64_t> expert_tokens;  // calibration tokens that the router sent to an expert
  // Their means over groups of rows, where they were estimated: the cross term's share; the
  // Hessian's shrinkage.
  std::optional<double> cross_term;
  std::optional<double> shrinkage;
  std::optional<OutputFactorSummary> output_factor;
};

struct QuantizeModelResult {
  std::vector<LinearSummary> linears;  // in model order
  double decoder_bits = 0, file_bits = 0;
  uint64_t file_bytes = 0;
  CalibrationGap kl;
  double seconds = 0;
};

// All that can be refused without data and without the work folder: options that the model forbids,
// a model that is quantized already, a tokenizer that the result could not carry, weights that are
// not finite or do not fit 16-bit scales (all are read once, by the first rank). Throws UsageError,
// Error or Interrupted.
void check_quantize_request(const ModelFiles& files, const QuantizeModelOptions& options,
                            const RunContext& context);

// What a work folder keeps of the request: `request` (command, data, fine-tuning) with the model
// and every option added. bitsmith.json begins with it.
OrderedJson quantize_request(const ModelFiles& files, const QuantizeModelOptions& options,
                             OrderedJson request);

// Whether any matrix goes to a method that learns from activations: all but RTN do. Where none
// does, quantize_model() takes an empty dataset and runs no block.
bool needs_calibration(const ModelFiles& files, const QuantizeModelOptions& options);

// Throws Error where memory or disk are not enough for `tokens` tokens of calibration text in
// windows of `length` (0, 0: none), which the ranks share, and for fine-tuning of blocks with them:
// on all ranks, where it is so on one. Collective.
void check_resources(const ModelFiles& files, const QuantizeModelOptions& options,
                     const WorkFolder& work, int64_t tokens, int64_t length,
                     const BlockFinetuner& finetune, Communicator& communicator);

// An estimate of wall time: it grows with the tokens from what the matrices take.
struct QuantizeTime {
  double fixed_seconds = 0, seconds_per_token = 0;
  double seconds(int64_t tokens) const {
    return fixed_seconds + seconds_per_token * static_cast<double>(tokens);
  }
};
// Runs each method on small matrices and one matrix product to learn this machine's speed
// (seconds). Throws Interrupted.
QuantizeTime quantize_time(const ModelFiles& files, const QuantizeModelOptions& options,
                           const RunContext& context);

// Judges the finished model, a directory in the work folder, and adds to its recipe what it finds.
using ResultJudge =
    std::function<void(const std::shared_ptr<const ModelFiles>& quantized, OrderedJson& recipe)>;

// Where `work` was published by an earlier run of the same request, its result; else quantizes.
// Finished blocks lie in `work`, one safetensors file each; the same request goes on with them and
// ends with the same bytes. Stages of every linear, with times, are appended to `log` (JSON lines).
// When cancelled it finishes nothing more and throws Interrupted. `finetune`, when given, trains
// each block after its matrices are quantized, in one process. `judge`, when given, sees the result
// before it is put in place. The ranks of the context, who all see `work`, share windows and
// matrices: the same codes with any number of them. On others than the first the result is empty.
QuantizeModelResult quantize_model(std::shared_ptr<const ModelFiles> files,
                                   const TokenDataset& data, const QuantizeModelOptions& options,
                                   WorkFolder& work, const std::filesystem::path& log,
                                   const RunContext& context = {},
                                   const BlockFinetuner& finetune = {},
                                   const ResultJudge& judge = {});
// The result that lies in a directory made by quantize_model().
QuantizeModelResult read_quantize_result(const std::filesystem::path& out);

}  // namespace bitsmith
