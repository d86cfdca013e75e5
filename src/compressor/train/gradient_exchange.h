// Gradients of micro-batches on their way to the ranks that own what they belong to, while the
// backward passes that make them go on.
#pragma once
#include <list>
#include <memory>
#include <vector>

#include "compressor/train/tuned_blocks.h"

namespace bitsmith {

// Ranks take the micro-batches of a step in rounds: number r * size + i of the step is rank i's in
// round r. A gradient goes to its owner as backward gives it, in the dtype of the passes, and is
// added there in float32 in the order of the micro-batches: the sums of one process, to the bit. A
// rank sends 2 bytes a weight and micro-batch in bfloat16, and gets as many as it sends.
class GradientExchange {
 public:
  // From then on gradients of `tuned`'s leaves leave them in backward. Outlived by `tuned`.
  explicit GradientExchange(TunedBlocks& tuned);
  ~GradientExchange();
  GradientExchange(const GradientExchange&) = delete;
  GradientExchange& operator=(const GradientExchange&) = delete;

  // Around each round's backward pass, on all ranks: those of rank 0 .. micro_batches - 1 make one.
  // finish() returns when the gradients of this rank's own parameters have the round's in them, and
  // its gradients have left.
  void begin(int micro_batches);
  void finish();

 private:
  class Hook;
  struct Parameter {
    torch::Tensor leaf;
    int owner;
    torch::Tensor* sum;  // float32
    bool left = false;   // the round's gradient is on its way, or waits for its turn in `own`
    // Of those of this rank.
    torch::Tensor own = {};
    int next = 0;  // whose gradient comes next
    torch::Tensor room = {};
    std::unique_ptr<Transfer> coming = {};
  };
  struct Sent {
    torch::Tensor gradient;
    std::unique_ptr<Transfer> transfer;
  };

  bool makes_one() const { return communicator_.rank() < micro_batches_; }
  bool is_own(const Parameter& parameter) const { return parameter.owner == communicator_.rank(); }
  // Takes the gradient out of the leaf, where there is one.
  void send_off(size_t index);
  // Adds what is there of the round in its order; with `wait` all of it. True when nothing misses.
  bool add_coming(size_t index, bool wait);
  // Lets messages go on.
  void poke();

  TunedBlocks& tuned_;
  Communicator& communicator_;
  std::vector<Parameter> parameters_;
  int micro_batches_ = 0;
  std::list<size_t> adding_;  // own parameters that have their own gradient and miss others'
  std::list<Sent> sent_;
};

}  // namespace bitsmith
