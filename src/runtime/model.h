// [9] The decoder without LibTorch: tokens of one or many sequences -> final hidden states ->
// logits.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "runtime/kv_cache.h"
#include "runtime/weights.h"

namespace bitsmith {

// One token to run. Its position is the next of its sequence; several may belong to one sequence
// (a prompt), then they are neighbors, or each to its own (sequences generated together).
struct TokenStep {
  int32_t token;
  KvCache* sequence;
};

// Results do not depend on the number of threads. Not reentrant: one caller at a time.
class RuntimeModel {
 public:
  RuntimeModel(ModelWeights weights, int threads);

  const ModelConfig& config() const { return weights_.config; }
  ThreadPool& pool() { return pool_; }

  // Runs the rows and appends them to their sequences, which must have room.
  // hidden: [rows, hidden_size], after the final norm. Throws Error for ids outside the vocabulary.
  void forward(std::span<const TokenStep> rows, std::span<float> hidden);
  // hidden [count, hidden_size] -> out [count, vocab_size].
  void logits(std::span<const float> hidden, std::span<float> out);

  // Runs the tokens of one sequence in pieces of kPromptRows, so that work space stays small.
  // each_piece gets the hidden states [piece, hidden_size] in order; returning false stops early.
  // Returns whether all tokens were run.
  using EachPiece = std::function<bool(std::span<const float> hidden)>;
  bool prefill(std::span<const int32_t> tokens, KvCache& sequence, const EachPiece& each_piece);
  static constexpr int64_t kPromptRows = 256;

  // Bytes of weights that one generated token reads.
  uint64_t bytes_per_token() const;

 private:
  void attention(int64_t block_index, std::span<const TokenStep> rows);
  void mlp(const BlockWeights& block, int64_t rows);

  void compute_rotary(std::span<const TokenStep> rows);
  void rotate(const std::vector<float>& norm, int64_t heads, int64_t row, float scale,
              std::vector<float>& x);
  // Each linear's outputs of the inputs x, which they share: x is rotated once for all of them.
  struct Output {
    const WeightAndBias& linear;
    std::vector<float>& y;
  };
  void apply(const std::vector<float>& x, int64_t rows, std::initializer_list<Output> outputs);
  void normalize(const std::vector<float>& weight, int64_t rows, float* out);
  void for_each_row(int64_t rows, const std::function<void(int64_t)>& task);

  ModelWeights weights_;
  ThreadPool pool_;
  std::vector<float> frequencies_;      // [head_dim / 2], for sequences of frequencies_length_
  int64_t frequencies_length_ = 0;      // changes only with `dynamic` rope scaling
  std::vector<int64_t> positions_;      // [rows]
  std::vector<float> cosines_, sines_;  // [rows, head_dim / 2]
  // Work space of one forward call, [rows, ...] each.
  std::vector<float> x_, normed_, rotated_, q_, k_, v_, attended_, gate_, up_, delta_;
};

}  // namespace bitsmith
