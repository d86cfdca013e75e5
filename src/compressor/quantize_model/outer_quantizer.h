// Embedding and head, the matrices outside the blocks: what their errors cost, and their
// quantization. Those whose objective needs no activations come before the blocks, whose inputs
// they then make; a head that is to fit the final hidden states comes after them.
#pragma once
#include <functional>
#include <vector>

#include "compressor/model/decoder.h"
#include "compressor/objective/objective.h"
#include "compressor/quantize_model/block_quantizer.h"
#include "compressor/quantize_model/quantization_plan.h"
#include "compressor/quantize_model/quantized_modules.h"

namespace bitsmith {

// H of the head's inputs [hidden, hidden]: of the last block's outputs [windows, length, hidden]
// after the final norm, about `tokens` tokens at a time; of the windows of all ranks. Collective.
torch::Tensor final_hessian(const Decoder& decoder, const torch::Tensor& outputs, int64_t tokens,
                            const std::function<void(double)>& progress,
                            Communicator& communicator = Communicator::alone());

// The objective of embedding or head (docs/quantization.md). A row is a token's: its weight is
// sqrt(count + 1), in units of the mean, with `counts` [vocab] of the calibration text. H is
//   the identity for an embedding, whose error meets no known input,
//   `hidden` (final_hessian()) for a head,
//   hidden + mean(diag(hidden)) I for one matrix that is both: without a direction, an error costs
//   the same in either use.
Objective outer_objective(const ModelPlan& model, const std::string& module,
                          const torch::Tensor& hidden, const torch::Tensor& counts);

// Rows of a planned outer matrix that are quantized at a time: all where rows share anything.
int64_t outer_slice_rows(const PlannedMatrix& matrix);

class OuterQuantizer {
 public:
  // windows [n, length] int64: the calibration tokens, of which there may be none. What is given
  // must outlive this.
  OuterQuantizer(const ModelFiles& files, const QuantizationPlan& plan,
                 const QuantizeModelOptions& options, const torch::Tensor& windows,
                 const RunContext& context);

  // The planned matrices of either time.
  std::vector<LinearPlan> before_blocks() const { return planned(/*needs_hidden=*/false); }
  std::vector<LinearPlan> after_blocks() const { return planned(/*needs_hidden=*/true); }

  // Quantizes them. `hidden`: final_hessian(), for those of after_blocks(). Throws Interrupted.
  QuantizedModules quantize(const std::vector<LinearPlan>& matrices, const torch::Tensor& hidden,
                            const LinearObserver& observer) const;

 private:
  std::vector<LinearPlan> planned(bool needs_hidden) const;
  // So many rows of special tokens, then of the most frequent ones; ascending.
  std::vector<int64_t> rows_to_keep(int64_t count) const;
  void quantize(const PlannedMatrix& matrix, const Objective& objective, QuantizedModules& modules,
                const LinearObserver& observer) const;

  const ModelFiles& files_;
  const QuantizationPlan& plan_;
  const QuantizeModelOptions& options_;
  torch::Tensor counts_;  // [vocab] float32: of each token in the calibration text
  const RunContext& context_;
};

}  // namespace bitsmith
