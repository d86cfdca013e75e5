// What is to be done with every matrix of a model, and what that will take; decided, checked and
// shown before the work starts.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "compressor/quantize_model/quantize_model.h"

namespace bitsmith {

struct PlannedMatrix {
  LinearPlan shape;
  RepresentationSpec spec;
  Method method;
};

struct QuantizationPlan {
  std::map<std::string, PlannedMatrix> matrices;  // by module; those that stay dense are absent
  int64_t blocks = 0;                             // the first N are quantized
  std::vector<int64_t> special_tokens;            // ascending
  // Estimates: bytes of the process at its peak, bytes in OUT.partial at its peak.
  uint64_t memory_bytes = 0;
  uint64_t disk_bytes = 0;

  const PlannedMatrix* find(const std::string& module) const;
  // Whether any matrix goes to a method that learns from activations.
  bool needs_calibration() const;
};

// Throws UsageError for what the options ask and the model cannot have: a representation that does
// not fit (all modules at once), a pattern that names nothing, a method of another representation,
// an objective for methods that have none. Where embedding or head have a representation of fewer
// than 8 bits, rows of `special_tokens` (ascending ids) are kept in 16.
QuantizationPlan plan_quantization(const ModelPlan& model, const QuantizeModelOptions& options,
                                   const std::vector<int64_t>& special_tokens);
// The same with the special tokens of the model's tokenizer, which is read where they matter.
QuantizationPlan plan_quantization(const ModelFiles& files, const QuantizeModelOptions& options);

// The asked method where it can make `spec`, else the spec's own (an override may be of another
// kind than the representation that the method was asked for).
Method method_for(const RepresentationSpec& spec, const QuantizeModelOptions& options);
// What an embedding or head [rows, columns] becomes where it has a representation: with `count`
// special tokens kept, if it is one of few bits.
RepresentationSpec with_special_tokens(const RepresentationSpec& spec, int64_t rows,
                                       int64_t columns, int64_t count);

// Seconds that a token takes in a pass of the model from ids to logits: in all blocks, in the head.
struct PassTime {
  double blocks = 0, head = 0;
};
// By one matrix product in `dtype`.
PassTime pass_time(const ModelPlan& model, torch::Dtype dtype);

// Fills the estimate of memory for `tokens` tokens in windows of `length`, with fine-tuning of
// blocks where `finetune` trains them, and adds to that of disk what they take there; once a plan.
// Measures nothing.
void estimate_resources(QuantizationPlan& plan, const ModelPlan& model, int64_t tokens,
                        int64_t length, const QuantizeModelOptions& options,
                        const BlockFinetuner& finetune = {});
// Of one-shot quantization. Runs each method on small matrices and one matrix product to learn this
// machine's speed (seconds). Throws Interrupted.
QuantizeTime one_shot_time(const QuantizationPlan& plan, const ModelPlan& model,
                           const QuantizeModelOptions& options, const RunContext& context);
// The same with the judging that follows it.
QuantizeTime estimate_time(const QuantizationPlan& plan, const ModelPlan& model,
                           const QuantizeModelOptions& options, const RunContext& context);

}  // namespace bitsmith
