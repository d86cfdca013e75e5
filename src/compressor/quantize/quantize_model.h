// One-shot quantisation of a whole model, block by block: peak memory is one block, its activations
// and its Hessians. The activations of the already quantised prefix feed the next block (AQLM,
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
  // original layer's on the quantised model's inputs (AQLM, GPTQ, GPTVQ); or between.
  double cross_term = 0.5;
  // Within a block each site's inputs come through the matrices quantised before it, instead of
  // through the original block. A cross term wants it: else what one matrix has already made good
  // would be made good again by the next.
  bool true_sequential = false;
  bool sequential() const { return true_sequential || cross_term > 0; }
  std::string dtype = "float32";  // of the blocks' forward passes: "float32" or "bfloat16"
  int64_t batch_tokens = 4096;    // activations run at a time
  int64_t stop_after_blocks = 0;  // quantise only the first N blocks (0: all); the rest stay dense
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

// Throws UsageError for options that the model or `out` forbid. quantize_model() asks too; callers
// that prepare data for minutes ask first.
void check_quantize_request(const ModelFiles& files, const QuantizeModelOptions& options,
                            const std::filesystem::path& out, bool force);

// Whether any matrix goes to a method that learns from activations: all but RTN do. Where none
// does, quantize_model() takes an empty dataset and runs no block.
bool needs_calibration(const ModelFiles& files, const QuantizeModelOptions& options);

// Everything that can be refused is refused before any work: impossible group sizes (all offending
// modules at once), too little disk or memory, an existing OUT without `force`, an unwritable
// folder. Work lives in OUT.partial (one safetensors file a finished block, recipe.json that names
// model, data and options); the same command resumes there and ends with the same bytes; other
// options than the recipe's are an error that says so. OUT.quantize.jsonl gets the stages of every
// layer, with times. On SIGINT finishes nothing more and throws
// Interrupted. `recipe` (command, seeds, data hashes, options of `finetune`) goes into
// bitsmith.json. `finetune`, when given, trains each block after its matrices are quantised.
QuantizeModelResult quantize_model(std::shared_ptr<const ModelFiles> files,
                                   const TokenDataset& data, const QuantizeModelOptions& options,
                                   const std::filesystem::path& out, bool force, OrderedJson recipe,
                                   const BlockFinetuner& finetune = {});

}  // namespace bitsmith
