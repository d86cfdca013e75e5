// One block: collect the Hessians of its input sites on the activations that reach it, quantise its
// matrices, and pass the activations on through what became of it.
#pragma once
#include <functional>
#include <string>

#include "compressor/model/decoder.h"
#include "compressor/quantize/quantization_plan.h"
#include "compressor/quantize/quantized_parts.h"

namespace bitsmith {

// Called with the share of the block's work that is done, and a word on what is being done. Throws
// to stop.
using BlockProgress = std::function<void(double share, const std::string& detail)>;
// Called with each quantised matrix's stages.
using LayerObserver = std::function<void(const LayerSummary&, const std::vector<StageReport>&)>;

class BlockQuantizer {
 public:
  // activations [windows, length, hidden] in the decoder's dtype: the inputs of block 0.
  BlockQuantizer(const Decoder& decoder, const QuantizationPlan& plan,
                 const QuantizeModelOptions& options, torch::Tensor activations);

  // The planned matrices of `layer`, quantised on the present activations.
  QuantizedParts quantize(int64_t layer, const BlockProgress& progress,
                          const LayerObserver& observer);
  // Replaces the activations by the outputs of `layer` with the given matrices in it.
  void advance(int64_t layer, const QuantizedParts& parts, const BlockProgress& progress);

 private:
  // Runs the block on all windows, a chunk at a time; `use` may be empty.
  void run(const Block& block, const SiteObserver& observer,
           const std::function<void(int64_t first, const torch::Tensor& outputs)>& use,
           const std::function<void(double)>& progress) const;

  const Decoder& decoder_;
  const QuantizationPlan& plan_;
  const QuantizeModelOptions& options_;
  torch::Tensor activations_;
  RotaryTable rotary_;
};

}  // namespace bitsmith
