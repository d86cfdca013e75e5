// One block: collect the Hessians of its input sites on the activations that reach it, quantize its
// matrices, and pass the activations on through what became of it. With a cross term the original
// model's activations go along. With a guided objective each matrix has a Hessian of its own. Ranks
// have windows of their own, whose sums they merge, and share the matrices.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "compressor/model/decoder.h"
#include "compressor/objective/input_sums.h"
#include "compressor/objective/objective.h"
#include "compressor/objective/output_factor.h"
#include "compressor/quantize_model/block_finetuner.h"
#include "compressor/quantize_model/block_share.h"
#include "compressor/quantize_model/block_stream.h"
#include "compressor/quantize_model/experts_in_turn.h"
#include "compressor/quantize_model/output_gradients.h"
#include "compressor/quantize_model/quantization_plan.h"
#include "compressor/quantize_model/quantized_modules.h"

namespace bitsmith {

// Called with the share of the block's work that is done, and a word on what is being done. Throws
// to stop.
using BlockProgress = std::function<void(double share, const std::string& detail)>;
// The moments that a linear's output factor is made of (moment_files.h).
using OutputMomentSource = std::function<OutputMoments(int64_t block_index, const Linear& linear)>;

// Called with a linear, its original weights [out, in] float32, and what an error of them costs.
using ObjectiveUser =
    std::function<void(Linear& linear, const torch::Tensor& weight, const Objective& objective)>;

class BlockQuantizer {
 public:
  // activations [windows, length, hidden] in the decoder's dtype: the inputs of block 0 for the
  // windows of this rank (share_of_windows()). No windows on any rank: every matrix is quantized
  // without a Hessian. gradients, moments: of the planned linears over all windows, where the
  // options use them. `finetune`: for one process alone. original_activations: the original
  // model's, where they are others; undefined: the same. All ranks make the same calls.
  BlockQuantizer(const Decoder& decoder, const QuantizationPlan& plan,
                 const QuantizeModelOptions& options, torch::Tensor activations,
                 OutputGradients gradients, OutputMomentSource moments, BlockFinetuner finetune,
                 const RunContext& context, const torch::Tensor& original_activations = {});

  // The planned matrices of block number `block_index`, quantized on the present activations.
  QuantizedModules quantize(int64_t block_index, const BlockProgress& progress,
                            const LinearObserver& observer);
  // Replaces the activations by the outputs of that block with the given matrices in it. A block
  // that was quantized just now is not read again, unless it has experts.
  void advance(int64_t block_index, const QuantizedModules& modules, const BlockProgress& progress);
  // The same walk over a block that is quantized already, the next one of a student, beside that of
  // the original: site by site `use` gets the planned linears with the objectives that they would
  // be quantized by. Sites after a linear see what `use` makes of its weight. One row group only,
  // in one process.
  void each_objective(Block& block, const Block& original, const BlockProgress& progress,
                      const ObjectiveUser& use);
  // Replaces the activations by the outputs of these two.
  void advance(const Block& block, const Block& original, const BlockProgress& progress);

  // [windows, length, hidden]: the inputs of the next block, of this rank's windows.
  const torch::Tensor& activations() const { return stream_.inputs(); }

 private:
  // What the objective of a linear, or of a group of its rows, is made of, of its inputs.
  struct InputStatistics {
    torch::Tensor hessian;  // undefined without data
    InputDrift drift;
    std::optional<double> shrinkage;  // of the Hessian, where it was asked for
  };

  // A planned linear that waits for the work of this rank.
  struct DealtLinear {
    Linear* linear;
    const PlannedMatrix* matrix;
    std::vector<InputStatistics> inputs;
    LinearSummary summary;  // what is known of it before
  };
  using LinearWork = std::function<void(DealtLinear dealt)>;
  // What follows when the ranks are done with their own of `linears`.
  using LinearsDone = std::function<void(const std::vector<Linear*>& linears)>;

  bool without_data() const { return all_windows_ == 0; }
  bool with_original() const { return options_.cross_term > 0; }
  // Site by site: statistics of its inputs, then the work of its planned linears, each by its
  // owner. Ranks work side by side on linears that do not wait for one another: those of a site, or
  // of the whole block; one process takes them one by one. `experts`: who reads those of both
  // blocks; null: all are there.
  void walk(Block& block, const Block& original, ExpertsInTurn* experts, const BlockShare& owners,
            const BlockProgress& progress, const LinearWork& work, const LinearsDone& done);
  void advance_original(const Block& original, const std::function<void(double)>& progress);
  // The planned linears of a site.
  std::vector<const Linear*> planned(Block& block, size_t site) const;
  // Takes all windows on to the site and sums up what its planned linears get, on all ranks: one
  // sum for all of them, or one for each group of rows of each where the objective is guided.
  // `original`: the block before anything in it was quantized, whose outputs the last site makes
  // with keep_original_outputs. all_tokens: an expert gets every token, whatever the router says.
  std::vector<InputSums> collect(Block& block, const Block& original, size_t site, bool all_tokens,
                                 bool keep_original_outputs,
                                 const std::function<void(double)>& progress);
  InputStatistics statistics(InputSums sums, const Linear& linear) const;
  // Of some rows, one of `row_groups` shares of the summary.
  Objective objective(const torch::Tensor& weight, const torch::Tensor& output_factor,
                      const InputStatistics& inputs, int64_t row_groups,
                      LinearSummary& summary) const;
  // G, undefined for the identity.
  torch::Tensor output_factor(const Linear& linear, const Block& block, const torch::Tensor& weight,
                              LinearSummary& summary) const;
  // Quantizes one matrix, each group of rows on its inputs, and adds it to `modules`. The summary
  // has what is known of it before.
  void quantize_linear(Linear& linear, const PlannedMatrix& matrix, const Block& block,
                       const std::vector<InputStatistics>& inputs, LinearSummary summary,
                       QuantizedModules& modules, const LinearObserver& observer) const;
  // Trains the block with these matrices in it and puts what became of them into `modules`.
  void finetune(int64_t block_index, QuantizedModules& modules, const BlockProgress& progress);

  const Decoder& decoder_;
  const QuantizationPlan& plan_;
  const QuantizeModelOptions& options_;
  const int64_t all_windows_, first_window_;  // of all ranks; this rank's first
  OutputGradients gradients_;
  OutputMomentSource moments_;
  RotaryTables rotary_;
  BlockStream stream_;            // of the model as it is quantized
  BlockStream original_stream_;   // of the original model; without a cross term there is none
  std::shared_ptr<Block> block_;  // the one that was quantized last, until it is passed
  BlockFinetuner finetune_;
  const RunContext& context_;
};

}  // namespace bitsmith
