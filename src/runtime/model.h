// [9] The decoder without LibTorch: tokens of one or many sequences -> final hidden states ->
// logits.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
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
  // prompts: how prefill() multiplies.
  RuntimeModel(ModelWeights weights, int threads, Products prompts = Products::kInt8);

  const ModelWeights& weights() const { return weights_; }
  // For another model, with other threads; this one is not used any more.
  ModelWeights take_weights() { return std::move(weights_); }
  const ModelPlan& plan() const { return weights_.plan; }
  ThreadPool& pool() { return pool_; }
  Products prompt_products() const { return prompt_products_; }
  // Whether keys and values of answers with these products are those, bit for bit, that reading the
  // answers as a prompt gives.
  bool same_as_prompts(Products answers) const;

  // Runs the rows and appends them to their sequences, which must have room. A row's results
  // depend, bit for bit, on its sequence and on `products` alone, not on the rows beside it.
  // hidden: [rows, hidden_size], after the final norm. Throws Error for ids outside the vocabulary
  // and for positions beyond the learned ones.
  void forward(std::span<const TokenStep> rows, Products products, std::span<float> hidden);
  // hidden [count, hidden_size] -> out [count, vocab_size].
  void logits(std::span<const float> hidden, Products products, std::span<float> out);

  // Runs the tokens of one sequence in pieces of kPromptRows, so that work space stays small.
  // each_piece gets the hidden states [piece, hidden_size] in order; returning false stops early.
  // Returns whether all tokens were run. Throws Error as forward(); for positions before anything
  // is run.
  using EachPiece = std::function<bool(std::span<const float> hidden)>;
  bool prefill(std::span<const int32_t> tokens, KvCache& sequence, const EachPiece& each_piece);
  static constexpr int64_t kPromptRows = 256;

 private:
  using Vector = std::vector<float>;
  // Each linear's outputs of the inputs x, which they share: x is rotated once for all of them.
  struct Output {
    const WeightAndBias& linear;
    Vector& y;
  };

  // Error where a sequence of `length` tokens has more positions than the model has learned.
  void check_positions(int64_t length) const;
  bool run_pieces(std::span<const int32_t> tokens, KvCache& sequence, const EachPiece& each_piece);
  // The sequence is about to have `length` positions. longrope turns all keys another way where
  // that crosses its trained context, and blocks beyond the first saw the old way in their inputs:
  // the tokens are run again.
  void rerun_if_rope_changes(KvCache& sequence, int64_t length);
  void embed(std::span<const TokenStep> rows);
  // normed_ [rows, hidden] -> delta_ [rows, hidden].
  void attention(int64_t block_index, std::span<const TokenStep> rows);
  void project_qkv(const AttentionPlan& plan, const BlockWeights& block, int64_t rows);
  void mlp(const MlpPlan& plan, const MlpWeights& weights, const Vector& x, int64_t rows,
           Vector& y);
  void experts(const ExpertsPlan& plan, const BlockWeights& block, int64_t rows);

  void compute_rotary(std::span<const TokenStep> rows);
  // Norm (if any), rotary embedding and scale of all heads of one row of x,
  // [rows, heads * head_dim].
  void normalize_and_rotate(const AttentionPlan& plan, const NormPlan& norm,
                            const NormWeights& weights, int64_t heads, int64_t row, float scale,
                            Vector& x);
  void apply(const Vector& x, int64_t rows, std::span<const Output> outputs);
  // y [rows, size] = the norm of x; a copy where there is none. y may be x.
  void normalize(const NormPlan& plan, const NormWeights& weights, int64_t rows, const float* x,
                 float* y);
  void for_each_row(int64_t rows, const std::function<void(int64_t)>& task);

  // Cosines and sines of one rope for the rows of one forward call, and its frequencies for the
  // class of lengths that it last met.
  struct Rotary {
    std::vector<float> frequencies;  // [dims / 2]
    int64_t length_class = 0;
    std::vector<float> cosines, sines;  // [rows, dims / 2]
  };

  ModelWeights weights_;
  ThreadPool pool_;
  Products prompt_products_;
  std::vector<Rotary> rotaries_;           // of the plan's ropes
  std::vector<int64_t> positions_;         // [rows]
  Products products_ = Products::kSingle;  // of the call that runs
  // Work space of one forward call, [rows, ...] each.
  Vector x_, normed_, rotated_, qkv_, q_, k_, v_, attended_, delta_;
  Vector gate_, up_, expert_inputs_, expert_outputs_, router_scores_;
};

}  // namespace bitsmith
