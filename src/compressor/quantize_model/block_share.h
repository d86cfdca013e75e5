// The matrices of a block, dealt to the ranks by their weights: each quantizes its own, and all get
// all.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/communicator.h"
#include "compressor/model/block.h"
#include "compressor/quantize/quantizer.h"
#include "compressor/quantize_model/quantization_plan.h"
#include "compressor/quantize_model/quantized_modules.h"

namespace bitsmith {

// Called with each quantized matrix's stages.
using LinearObserver = std::function<void(const LinearSummary&, const std::vector<StageReport>&)>;

class BlockShare {
 public:
  BlockShare(Block& block, const QuantizationPlan& plan, Communicator& communicator);

  bool owns(const Linear& linear) const;
  bool owns_any(const std::vector<const Linear*>& linears) const;
  // For the quantization of an own matrix: keeps what exchange() tells the observer.
  LinearObserver note();
  // Adds the planned ones of `linears` to `modules`, with their summaries, in their order; those of
  // this rank are in `own`. The observer sees them all. with_weights: dense weights too, which the
  // owner has made anew. Collective.
  void exchange(const std::vector<Linear*>& linears, bool with_weights, QuantizedModules own,
                QuantizedModules& modules, const LinearObserver& observer);

 private:
  struct Noted {
    LinearSummary summary;
    std::vector<StageReport> stages;
  };
  Noted share_noted(const Noted& own, int owner);

  const QuantizationPlan& plan_;
  Communicator& communicator_;
  std::map<std::string, int> owners_;  // of planned matrices
  std::map<std::string, Noted> noted_;
};

// Element by element over all ranks. Collective.
std::vector<int64_t> sum_of_ranks(const std::vector<int64_t>& counts, Communicator& communicator);

// Whole chunks of about `tokens` tokens of `count` windows of `length` for each rank, neighbors:
// all passes run the windows that they run in one process, with the same rounding.
Share share_of_windows(int64_t count, int64_t length, int64_t tokens, int rank, int ranks);

}  // namespace bitsmith
