#include "runtime/model.h"

#include <algorithm>
#include <cmath>

#include "architecture/alibi.h"
#include "base/error.h"
#include "kernels/kernel_table.h"
#include "runtime/expert_routing.h"

namespace bitsmith {
namespace {

void add(const float* x, int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] += x[i];
}

size_t elements(int64_t rows, int64_t columns) { return static_cast<size_t>(rows * columns); }

void activate(Activation activation, const float* x, const float* up, int64_t count, float* y) {
  const ActivationKernels& kernel = kernels().activations;
  switch (activation) {
    case Activation::kSilu:
      return kernel.silu(x, up, count, y);
    case Activation::kGelu:
      return kernel.gelu(x, up, count, y);
    case Activation::kGeluTanh:
      return kernel.gelu_tanh(x, up, count, y);
    case Activation::kRelu:
      return kernel.relu(x, up, count, y);
  }
}

// y [rows, plan.size] = the norm of x; y may be x.
void apply_norm(const NormPlan& plan, const NormWeights& weights, int64_t rows, const float* x,
                float* y) {
  const NormKernels& kernel = kernels().norms;
  const float* weight = weights.weight.data();
  const auto eps = static_cast<float>(plan.eps);
  switch (plan.kind) {
    case NormPlan::Kind::kRms:
      return kernel.rms.forward(x, weight, false, rows, plan.size, eps, y, nullptr);
    case NormPlan::Kind::kRmsOnePlus:
      return kernel.rms.forward(x, weight, true, rows, plan.size, eps, y, nullptr);
    case NormPlan::Kind::kLayer:
      return kernel.layer_norm(x, weight, weights.bias.data(), rows, plan.size, eps, y);
  }
}

}  // namespace

RuntimeModel::RuntimeModel(ModelWeights weights, int threads, Products prompts)
    : weights_(std::move(weights)),
      pool_(threads),
      prompt_products_(prompts),
      rotaries_(weights_.plan.ropes.size()) {}

bool RuntimeModel::same_as_prompts(Products answers) const {
  if (answers != Products::kShared) return answers == prompt_products_;
  // The embedding is decoded in any case, and the head comes after all keys.
  const auto multiplies_alike = [&](const NamedMatrix& named) {
    return named.matrix == weights_.embedding.get() || named.matrix == weights_.head.get() ||
           named.matrix->decodes_for_few();
  };
  return prompt_products_ == Products::kInt8 &&
         std::ranges::all_of(named_matrices(weights_), multiplies_alike);
}

void RuntimeModel::forward(std::span<const TokenStep> rows, Products products,
                           std::span<float> hidden) {
  const ModelPlan& plan = weights_.plan;
  const int64_t count = std::ssize(rows);
  BITSMITH_CHECK(hidden.size() == elements(count, plan.hidden_size));
  for (size_t first = 0, end; first < rows.size(); first = end) {
    KvCache& sequence = *rows[first].sequence;
    for (end = first + 1; end < rows.size() && rows[end].sequence == &sequence;) ++end;
    const int64_t length = sequence.length() + static_cast<int64_t>(end - first);
    check_positions(length);
    rerun_if_rope_changes(sequence, std::max(sequence.rope_length, length));
  }
  products_ = products;
  embed(rows);
  compute_rotary(rows);
  normed_.resize(x_.size());
  for (int64_t block_index = 0; block_index < plan.num_blocks(); ++block_index) {
    const BlockPlan& block = plan.blocks[static_cast<size_t>(block_index)];
    const BlockWeights& weights = weights_.blocks[static_cast<size_t>(block_index)];

    normalize(block.attention_norm, weights.attention_norm, count, x_.data(), normed_.data());
    attention(block_index, rows);
    normalize(block.attention_output_norm, weights.attention_output_norm, count, delta_.data(),
              delta_.data());
    if (!block.parallel) add(delta_.data(), std::ssize(x_), x_.data());
    normalize(block.mlp_norm, weights.mlp_norm, count, x_.data(), normed_.data());
    if (block.parallel) add(delta_.data(), std::ssize(x_), x_.data());

    if (block.mlp) mlp(*block.mlp, weights.mlps.front(), normed_, count, delta_);
    if (block.experts) experts(*block.experts, weights, count);
    normalize(block.mlp_output_norm, weights.mlp_output_norm, count, delta_.data(), delta_.data());
    add(delta_.data(), std::ssize(x_), x_.data());
  }
  normalize(plan.final_norm, weights_.final_norm, count, x_.data(), hidden.data());
}

// rows -> x_ [rows, hidden], the residual stream; the tokens join their sequences.
void RuntimeModel::embed(std::span<const TokenStep> rows) {
  const ModelPlan& plan = weights_.plan;
  const int64_t hidden = plan.hidden_size;
  x_.resize(elements(std::ssize(rows), hidden));
  for (const TokenStep& row : rows) {
    if (row.token < 0 || row.token >= plan.vocab_size)
      throw Error(concat("token id ", row.token, " is outside the model's vocabulary of ",
                         plan.vocab_size, " entries: is the tokenizer another model's?"));
  }
  positions_.clear();
  for (const TokenStep& row : rows) positions_.push_back(row.sequence->append(row.token));
  Vector position(weights_.positions ? static_cast<size_t>(hidden) : 0);
  for (size_t r = 0; r < rows.size(); ++r) {
    float* x = &x_[elements(static_cast<int64_t>(r), hidden)];
    weights_.embedding->decode_row(rows[r].token, x);
    if (plan.embedding_scale != 1)
      for (int64_t i = 0; i < hidden; ++i) x[i] *= static_cast<float>(plan.embedding_scale);
    if (!weights_.positions) continue;
    weights_.positions->decode_row(positions_[r] + plan.position_offset, position.data());
    add(position.data(), hidden, x);
  }
  normalize(plan.embedding_norm, weights_.embedding_norm, std::ssize(rows), x_.data(), x_.data());
}

// normed_ -> q_ [rows, heads * head_dim], k_ and v_ [rows, kv_heads * head_dim].
void RuntimeModel::project_qkv(const AttentionPlan& plan, const BlockWeights& block, int64_t rows) {
  const auto& inputs = block.attention_inputs;
  if (plan.order == AttentionPlan::Order::kSeparate) {
    const Output outputs[] = {{inputs[0], q_}, {inputs[1], k_}, {inputs[2], v_}};
    return apply(normed_, rows, outputs);
  }
  const Output outputs[] = {{inputs[0], qkv_}};
  apply(normed_, rows, outputs);
  const int64_t q_size = plan.q_size(), kv_size = plan.kv_size(), head_dim = plan.head_dim;
  q_.resize(elements(rows, q_size));
  k_.resize(elements(rows, kv_size));
  v_.resize(elements(rows, kv_size));
  for_each_row(rows, [&](int64_t r) {
    const float* from = &qkv_[elements(r, q_size + 2 * kv_size)];
    float *q = &q_[elements(r, q_size)], *k = &k_[elements(r, kv_size)],
          *v = &v_[elements(r, kv_size)];
    if (plan.order == AttentionPlan::Order::kConcatenated) {
      std::copy_n(from, q_size, q);
      std::copy_n(from + q_size, kv_size, k);
      std::copy_n(from + q_size + kv_size, kv_size, v);
      return;
    }
    for (int64_t h = 0; h < plan.heads; ++h, from += 3 * head_dim) {
      std::copy_n(from, head_dim, q + h * head_dim);
      std::copy_n(from + head_dim, head_dim, k + h * head_dim);
      std::copy_n(from + 2 * head_dim, head_dim, v + h * head_dim);
    }
  });
}

void RuntimeModel::attention(int64_t block_index, std::span<const TokenStep> rows) {
  const AttentionPlan& plan = weights_.plan.blocks[static_cast<size_t>(block_index)].attention;
  const BlockWeights& block = weights_.blocks[static_cast<size_t>(block_index)];
  const int64_t count = std::ssize(rows), head_dim = plan.head_dim;
  const int64_t kv_heads = plan.kv_heads, group = plan.group();

  project_qkv(plan, block, count);
  for_each_row(count, [&](int64_t r) {
    normalize_and_rotate(plan, plan.q_norm, block.q_norm, plan.heads, r,
                         static_cast<float>(plan.scale), q_);
    normalize_and_rotate(plan, plan.k_norm, block.k_norm, kv_heads, r, 1.0f, k_);
    for (int64_t h = 0; h < kv_heads; ++h) {
      const size_t at = elements(r * kv_heads + h, head_dim);
      rows[static_cast<size_t>(r)].sequence->store(
          block_index, h, positions_[static_cast<size_t>(r)], &k_[at], &v_[at]);
    }
  });

  // Tasks: some neighboring rows of one sequence, and one key/value head with all its queries.
  constexpr int64_t kTaskRows = 16;
  struct Task {
    int64_t first, end;  // rows
    int64_t kv_head;
  };
  std::vector<Task> tasks;
  for (int64_t first = 0, end; first < count; first = end) {
    const KvCache* sequence = rows[static_cast<size_t>(first)].sequence;
    for (end = first + 1; end < count && end - first < kTaskRows &&
                          rows[static_cast<size_t>(end)].sequence == sequence;)
      ++end;
    for (int64_t h = 0; h < kv_heads; ++h) tasks.push_back({first, end, h});
  }
  const Vector slopes =
      plan.alibi ? alibi_slopes(plan.heads) : Vector(static_cast<size_t>(plan.heads), 0.0f);
  attended_.resize(elements(count, plan.q_size()));
  pool_.run(std::ssize(tasks), [&](int64_t t) {
    const Task& task = tasks[static_cast<size_t>(t)];
    const KvCache& sequence = *rows[static_cast<size_t>(task.first)].sequence;
    std::vector<AttentionQuery> queries;
    for (int64_t r = task.first; r < task.end; ++r) {
      const int64_t position = positions_[static_cast<size_t>(r)];
      const int64_t oldest = plan.window > 0 ? std::max<int64_t>(0, position - plan.window + 1) : 0;
      for (int64_t h = task.kv_head * group; h < (task.kv_head + 1) * group; ++h) {
        const size_t at = elements(r * plan.heads + h, head_dim);
        queries.push_back(
            {&q_[at], &attended_[at], oldest, position + 1, slopes[static_cast<size_t>(h)]});
      }
    }
    thread_local Vector scratch;
    const KvPool& pool = sequence.pool();
    scratch.resize(
        static_cast<size_t>(attention_scratch(sequence.length(), pool.padded_head_dim())));
    kernels().attention.attend({.queries = queries.data(),
                                .count = std::ssize(queries),
                                .head_dim = head_dim,
                                .padded_head_dim = pool.padded_head_dim(),
                                .type = pool.type(),
                                .keys = pool.keys(block_index, task.kv_head),
                                .values = pool.values(block_index, task.kv_head),
                                .pages = sequence.pages().data(),
                                .scratch = scratch.data(),
                                .soft_cap = static_cast<float>(plan.soft_cap)});
  });
  const Output outputs[] = {{block.attention_output, delta_}};
  apply(attended_, count, outputs);
}

// x [rows, hidden] -> y [rows, hidden].
void RuntimeModel::mlp(const MlpPlan& plan, const MlpWeights& weights, const Vector& x,
                       int64_t rows, Vector& y) {
  const int64_t width = plan.width;
  const bool one = weights.inputs.size() == 1;  // gate and up in one, or up alone
  if (one) {
    const Output outputs[] = {{weights.inputs[0], up_}};
    apply(x, rows, outputs);
    gate_.resize(elements(rows, width));
  } else {
    const Output outputs[] = {{weights.inputs[0], gate_}, {weights.inputs[1], up_}};
    apply(x, rows, outputs);
  }
  for_each_row(rows, [&](int64_t r) {
    float* hidden = &gate_[elements(r, width)];
    if (!plan.gated)
      activate(plan.activation, &up_[elements(r, width)], nullptr, width, hidden);
    else if (one)
      activate(plan.activation, &up_[elements(r, 2 * width)], &up_[elements(r, 2 * width)] + width,
               width, hidden);
    else
      activate(plan.activation, hidden, &up_[elements(r, width)], width, hidden);
  });
  const Output outputs[] = {{weights.output, y}};
  apply(gate_, rows, outputs);
}

// normed_ -> delta_: of each row the chosen experts' outputs, weighted by the router.
void RuntimeModel::experts(const ExpertsPlan& plan, const BlockWeights& block, int64_t rows) {
  const int64_t hidden = weights_.plan.hidden_size, count = std::ssize(plan.experts);
  const Output outputs[] = {{block.router, router_scores_}};
  apply(normed_, rows, outputs);
  const auto tokens = route_tokens(plan, router_scores_);
  delta_.assign(elements(rows, hidden), 0.0f);
  for (int64_t e = 0; e < count; ++e) {
    const auto& own = tokens[static_cast<size_t>(e)];
    if (own.empty()) continue;
    expert_inputs_.clear();
    for (const RoutedToken& token : own) {
      const float* x = &normed_[elements(token.row, hidden)];
      expert_inputs_.insert(expert_inputs_.end(), x, x + hidden);
    }
    mlp(plan.experts[static_cast<size_t>(e)], block.mlps[static_cast<size_t>(e)], expert_inputs_,
        std::ssize(own), expert_outputs_);
    for (size_t i = 0; i < own.size(); ++i) {
      const float* y = &expert_outputs_[elements(static_cast<int64_t>(i), hidden)];
      float* sum = &delta_[elements(own[i].row, hidden)];
      for (int64_t j = 0; j < hidden; ++j) sum[j] += own[i].weight * y[j];
    }
  }
}

// Cosines and sines of every row's position, in float32 as transformers computes them.
void RuntimeModel::compute_rotary(std::span<const TokenStep> rows) {
  for (size_t n = 0; n < rotaries_.size(); ++n) {
    const RopePlan& rope = weights_.plan.ropes[n];
    Rotary& rotary = rotaries_[n];
    const auto half = static_cast<size_t>(rope.dims / 2);
    const auto factor = static_cast<float>(rope.attention_factor);
    rotary.cosines.resize(rows.size() * half);
    rotary.sines.resize(rows.size() * half);
    for (size_t r = 0; r < rows.size(); ++r) {
      const int64_t length = rope_length_class(rope, rows[r].sequence->rope_length);
      if (length != rotary.length_class) {
        const std::vector<double> exact = rope_inverse_frequencies(rope, length);
        rotary.frequencies.assign(exact.begin(), exact.end());
        rotary.length_class = length;
      }
      for (size_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(positions_[r]) * rotary.frequencies[i];
        rotary.cosines[r * half + i] = std::cos(angle) * factor;
        rotary.sines[r * half + i] = std::sin(angle) * factor;
      }
    }
  }
}

void RuntimeModel::normalize_and_rotate(const AttentionPlan& plan, const NormPlan& norm,
                                        const NormWeights& weights, int64_t heads, int64_t row,
                                        float scale, Vector& x) {
  float* values = &x[elements(row * heads, plan.head_dim)];
  if (norm.exists()) {
    const int64_t rows = heads * plan.head_dim / norm.size;  // heads, or one of all heads
    apply_norm(norm, weights, rows, values, values);
  }
  if (plan.rope < 0) {
    if (scale != 1.0f)
      for (int64_t i = 0; i < heads * plan.head_dim; ++i) values[i] *= scale;
    return;
  }
  const Rotary& rotary = rotaries_[static_cast<size_t>(plan.rope)];
  const int64_t half = weights_.plan.ropes[static_cast<size_t>(plan.rope)].dims / 2;
  kernels().rope.f32({.cos = &rotary.cosines[elements(row, half)],
                      .sin = &rotary.sines[elements(row, half)],
                      .heads = heads,
                      .head_dim = plan.head_dim,
                      .half = half,
                      .scale = scale},
                     values, values);
}

// y [rows, out_features] = x [rows, in_features] W^T + bias.
void RuntimeModel::apply(const Vector& x, int64_t rows, std::span<const Output> outputs) {
  const InputRotation* done = nullptr;  // what rotated_ holds
  for (const auto& [linear, y] : outputs) {
    WeightMatrix& matrix = *linear.matrix;
    BITSMITH_CHECK(x.size() == elements(rows, matrix.in_features));
    y.resize(elements(rows, matrix.out_features));
    const InputRotation* rotation = matrix.input_rotation();
    if (rotation && !(done && *done == *rotation)) {
      rotated_.resize(x.size());
      rotation->apply(x.data(), rows, rotated_.data(), pool_);
      done = rotation;
    }
    matrix.multiply_rotated(products_, rotation ? rotated_.data() : x.data(), rows, y.data(),
                            pool_);
    if (linear.bias.empty()) continue;
    for (int64_t r = 0; r < rows; ++r)
      add(linear.bias.data(), matrix.out_features, &y[elements(r, matrix.out_features)]);
  }
}

void RuntimeModel::normalize(const NormPlan& plan, const NormWeights& weights, int64_t rows,
                             const float* x, float* y) {
  if (!plan.exists()) {
    if (x != y) std::copy_n(x, rows * weights_.plan.hidden_size, y);
    return;
  }
  for_each_row(
      rows, [&](int64_t r) { apply_norm(plan, weights, 1, x + r * plan.size, y + r * plan.size); });
}

void RuntimeModel::for_each_row(int64_t rows, const std::function<void(int64_t)>& task) {
  constexpr int64_t kRows = 8;  // in one task of the pool: a single row is too little work
  pool_.run((rows + kRows - 1) / kRows, [&](int64_t t) {
    for (int64_t r = t * kRows; r < std::min(rows, (t + 1) * kRows); ++r) task(r);
  });
}

void RuntimeModel::logits(std::span<const float> hidden, Products products, std::span<float> out) {
  const int64_t rows = std::ssize(hidden) / weights_.plan.hidden_size;
  const int64_t vocab = weights_.plan.vocab_size;
  BITSMITH_CHECK(out.size() == elements(rows, vocab));
  weights_.head->multiply(products, hidden.data(), rows, out.data(), pool_);
  const auto cap = static_cast<float>(weights_.plan.logit_soft_cap);
  if (cap > 0)
    for_each_row(
        rows, [&](int64_t r) { kernels().softmax.soft_cap(&out[elements(r, vocab)], vocab, cap); });
}

}  // namespace bitsmith
