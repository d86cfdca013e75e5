// Quantized blocks under training: their linears carry a dense copy of their weights for
// forward and backward passes, beside everything that the optimizer changes. Where several
// processes train them, each matrix and vector has an owner: the rank that holds the sum of its
// gradients and its optimizer's state, and takes its steps.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <ranges>
#include <string>
#include <vector>

#include "base/communicator.h"
#include "compressor/model/decoder.h"
#include "compressor/train/adam.h"
#include "compressor/train/code_rule.h"

namespace bitsmith {

// One continuous tensor under Adam.
struct Trainable {
  std::string name;     // as in the file: MODULE.codebooks
  torch::Tensor value;  // float32 master
  // Of norms and biases: the block's own leaf, in the compute dtype. Else undefined.
  torch::Tensor live;
  AdamState adam;
  double unit = 1;           // root mean square of the value at the start: the step's unit
  bool of_channels = false;  // moves as norms do, and does not decay
  // Of norms and biases: float32, summed over the micro-batches of a step; undefined where the
  // loss does not depend on them, and on ranks that do not own them.
  torch::Tensor gradient = {};
  int owner = 0;  // of norms and biases
};

// One quantized linear.
struct TunedLinear {
  Linear* linear = nullptr;
  // [out, in] float32, summed over the micro-batches of a step; undefined where another rank owns
  // it.
  torch::Tensor gradient;
  std::vector<Trainable> continuous;  // of the representation
  std::unique_ptr<CodeRule> rule;     // null: codes stay, or are moved by the owner
  int owner = 0;
  Representation& representation() const { return *linear->representation; }
  // The gradient in what the term with codes gives: where rules keep their state and search.
  torch::Tensor code_gradient() const { return representation().gradient_to_code_space(gradient); }
  // The dense copy as codes and continuous parameters now give it.
  void refresh() const;
};

// Which vectors of a block learn beside its matrices: weights of norms, biases of norms and
// linears.
struct TrainedVectors {
  bool norms = true, biases = true;
};

// Those of linears() or norms() that a rank owns.
template <typename T>
auto owned_by(int rank, std::vector<T>& all) {
  return all | std::views::filter([rank](const T& each) { return each.owner == rank; });
}

class TunedBlocks {
 public:
  // `memory`: where moments lie. Both outlive this.
  explicit TunedBlocks(StateMemory& memory = StateMemory::plain(),
                       Communicator& communicator = Communicator::alone())
      : memory_(memory), communicator_(communicator) {}
  Communicator& communicator() const { return communicator_; }

  // Adds a block of `decoder`, both of which must outlive this: every quantized linear gets its
  // dense copy in the decoder's dtype, as a leaf that wants a gradient, and so do `vectors`, whose
  // masters are read from the decoder's files in float32.
  void add(Block& block, const Decoder& decoder, TrainedVectors vectors = {});
  // One linear alone; it must be quantized.
  TunedLinear& add(Linear& linear, torch::Dtype dtype);
  // When all are added: deals them to the ranks, whole, so that the weights of each are about as
  // many. Whole, since the step of a matrix is one: rows share codebooks, the trust ratio is of all
  // of them, a rotation mixes them; and a model has many more matrices than there are ranks.
  void deal();

  std::vector<TunedLinear>& linears() { return linears_; }
  std::vector<Trainable>& norms() { return norms_; }  // and biases
  // Those that this rank owns.
  auto own_linears() { return owned_by(communicator_.rank(), linears_); }
  auto own_norms() { return owned_by(communicator_.rank(), norms_); }

  // Adds the gradients of one backward pass to those that are kept, in float32, and clears them.
  // Those of dense copies are added and cleared one by one while that pass runs, so that they never
  // exist together; what is left is those that no pass made, such as a head's. For one process;
  // GradientExchange does it for several.
  void collect_gradients();
  void clear_gradients();
  // Of all that was collected, dense weights, norms and biases: the root of the sum of squares,
  // over all ranks. Collective.
  double gradient_norm();
  void scale_gradients(double factor);
  // After the owners' steps: everybody gets the continuous values. Collective.
  void share_values();
  // Around their searches: copies of the codes of each linear, undefined for those of other ranks,
  // none for one process; then everybody gets those that changed since. Collective.
  std::vector<torch::Tensor> own_codes();
  void share_codes(const std::vector<torch::Tensor>& before);
  // Dense copies and live norms as the next training pass is to see them.
  void refresh();

  // Codes, continuous parameters, norms and biases: what the file will hold, unrounded.
  void visit_values(const StateVisitor& visitor);
  // Adam's moments and the rules' state, of what this rank owns.
  void visit_own_state(const StateVisitor& visitor);
  // All that a step of this rank reads and changes: the values and its own state.
  void visit_state(const StateVisitor& visitor) {
    visit_values(visitor);
    visit_own_state(visitor);
  }
  // For a visitor that begins a state.
  torch::Tensor new_state(at::IntArrayRef shape, torch::Dtype dtype) {
    return memory_.zeros(shape, dtype);
  }

  // Bytes that this rank holds of the matrices: sums of gradients, dense copies, codes, continuous
  // parameters, and the optimizer's state, wherever it lies.
  uint64_t matrix_bytes();

  // Copies of the values, to put aside and back; and of those alone that a projection changes, all
  // but codes.
  std::map<std::string, torch::Tensor> save_values();
  std::map<std::string, torch::Tensor> save_parameters();
  // Those that are in `values`.
  void restore_values(const std::map<std::string, torch::Tensor>& values);
  // Rounds everything to what the file stores; dense copies and live norms follow.
  void project();

 private:
  // Continuous parameters, norms and biases.
  void visit_parameters(const StateVisitor& visitor);

  std::vector<TunedLinear> linears_;
  std::vector<Trainable> norms_;
  StateMemory& memory_;
  Communicator& communicator_;
};

}  // namespace bitsmith
