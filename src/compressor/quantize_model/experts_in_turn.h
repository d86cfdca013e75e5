// A block whose experts are read for their own sites and dropped behind them: a walk from site to
// site holds the weights of one.
#pragma once
#include <memory>

#include "compressor/model/decoder.h"

namespace bitsmith {

class ExpertsInTurn {
 public:
  // Two blocks of the same weights where the original stays beside the one that is quantized; their
  // tensors are shared until one is replaced. A block without experts is whole from the start.
  ExpertsInTurn(const Decoder& decoder, int64_t block_index, bool with_original);

  const std::shared_ptr<Block>& block() const { return block_; }
  // As it was read; block() itself when with_original is false.
  const std::shared_ptr<Block>& original() const { return original_; }
  bool whole() const { return !block_->plan->experts; }

  // Before each site, in their order.
  void enter(const Site& site);

 private:
  const Decoder& decoder_;
  std::shared_ptr<Block> block_, original_;
  int64_t expert_ = -1;  // that is there
};

}  // namespace bitsmith
