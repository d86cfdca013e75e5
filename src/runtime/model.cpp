#include "runtime/model.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/kernel_table.h"

namespace bitsmith {
namespace {

// y = x / sqrt(mean(x^2) + eps) * weight for `rows` rows of weight.size() values; y may be x.
void rms_norm(const float* x, const std::vector<float>& weight, int64_t rows, double eps,
              float* y) {
  kernels().norms.rms.forward(x, weight.data(), /*one_plus_weight=*/false, rows, std::ssize(weight),
                              static_cast<float>(eps), y, nullptr);
}

void add(const float* x, int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] += x[i];
}

size_t elements(int64_t rows, int64_t columns) { return static_cast<size_t>(rows * columns); }

}  // namespace

RuntimeModel::RuntimeModel(ModelWeights weights, int threads)
    : weights_(std::move(weights)), pool_(threads) {}

void RuntimeModel::forward(std::span<const TokenStep> rows, std::span<float> hidden) {
  const ModelConfig& config = weights_.config;
  const int64_t count = static_cast<int64_t>(rows.size());
  BITSMITH_CHECK(hidden.size() == elements(count, config.hidden_size));

  x_.resize(elements(count, config.hidden_size));  // the residual stream, [rows, hidden]
  for (int64_t r = 0; r < count; ++r) {
    const int32_t token = rows[static_cast<size_t>(r)].token;
    if (token < 0 || token >= config.vocab_size)
      throw Error(concat("token id ", token, " is outside the model's vocabulary of ",
                         config.vocab_size, " entries: is the tokenizer another model's?"));
    weights_.embedding->decode_row(token, &x_[elements(r, config.hidden_size)]);
  }
  positions_.clear();
  for (const TokenStep& row : rows) positions_.push_back(row.sequence->append(row.token));
  compute_rotary(rows);

  normed_.resize(x_.size());
  for (int64_t block_index = 0; block_index < config.num_hidden_layers; ++block_index) {
    const BlockWeights& block = weights_.blocks[static_cast<size_t>(block_index)];

    normalize(block.input_norm, count, normed_.data());
    attention(block_index, rows);  // normed_ -> attended_ [rows, heads * head_dim]
    apply(attended_, count, {{block.o, delta_}});
    add(delta_.data(), std::ssize(x_), x_.data());

    normalize(block.post_attention_norm, count, normed_.data());
    mlp(block, count);  // normed_ -> gate_ [rows, intermediate]
    apply(gate_, count, {{block.down, delta_}});
    add(delta_.data(), std::ssize(x_), x_.data());
  }
  normalize(weights_.final_norm, count, hidden.data());
}

// normed_ [rows, hidden] -> attended_ [rows, heads * head_dim]; keys and values join the caches.
void RuntimeModel::attention(int64_t block_index, std::span<const TokenStep> rows) {
  const ModelConfig& config = weights_.config;
  const BlockWeights& block = weights_.blocks[static_cast<size_t>(block_index)];
  const int64_t count = static_cast<int64_t>(rows.size()), head_dim = config.head_dim;
  const int64_t kv_heads = config.num_key_value_heads;
  const int64_t group = config.num_attention_heads / kv_heads;  // queries that share a key head
  const int64_t window = config.sliding_window[static_cast<size_t>(block_index)];

  // [rows, heads * head_dim], and twice [rows, kv_heads * head_dim]
  apply(normed_, count, {{block.q, q_}, {block.k, k_}, {block.v, v_}});
  for_each_row(count, [&](int64_t r) {
    rotate(block.q_norm, config.num_attention_heads, r,
           1.0f / std::sqrt(static_cast<float>(head_dim)), q_);
    rotate(block.k_norm, kv_heads, r, 1.0f, k_);
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
  attended_.resize(elements(count, config.q_size()));
  pool_.run(std::ssize(tasks), [&](int64_t t) {
    const Task& task = tasks[static_cast<size_t>(t)];
    const KvCache& sequence = *rows[static_cast<size_t>(task.first)].sequence;
    std::vector<AttentionQuery> queries;
    for (int64_t r = task.first; r < task.end; ++r) {
      const int64_t position = positions_[static_cast<size_t>(r)];
      const int64_t oldest = window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
      for (int64_t h = task.kv_head * group; h < (task.kv_head + 1) * group; ++h) {
        const size_t at = elements(r * config.num_attention_heads + h, head_dim);
        queries.push_back({&q_[at], &attended_[at], oldest, position + 1});
      }
    }
    thread_local std::vector<float> scratch;
    scratch.resize(
        static_cast<size_t>(attention_scratch(sequence.length(), sequence.padded_head_dim())));
    kernels().attention.attend({.queries = queries.data(),
                                .count = std::ssize(queries),
                                .head_dim = head_dim,
                                .padded_head_dim = sequence.padded_head_dim(),
                                .keys = sequence.keys(block_index, task.kv_head),
                                .values = sequence.values(block_index, task.kv_head),
                                .float16 = sequence.type() == KvType::kFloat16,
                                .scratch = scratch.data()});
  });
}

// normed_ [rows, hidden] -> gate_ = silu(W_gate x) * (W_up x), [rows, intermediate].
void RuntimeModel::mlp(const BlockWeights& block, int64_t rows) {
  const int64_t width = weights_.config.intermediate_size;
  apply(normed_, rows, {{block.gate, gate_}, {block.up, up_}});
  for_each_row(rows, [&](int64_t r) {
    float* gate = &gate_[elements(r, width)];
    kernels().activations.silu_mul.forward(gate, &up_[elements(r, width)], width, gate);
  });
}

// Cosines and sines of every row's position, in float32 as transformers computes them.
void RuntimeModel::compute_rotary(std::span<const TokenStep> rows) {
  const ModelConfig& config = weights_.config;
  const size_t half = static_cast<size_t>(config.head_dim / 2);
  const bool dynamic = config.rope_scaling.type == RopeScaling::Type::kDynamic;
  cosines_.resize(rows.size() * half);
  sines_.resize(rows.size() * half);
  for (size_t r = 0; r < rows.size(); ++r) {
    const int64_t length = dynamic ? rows[r].sequence->rope_length : 1;
    if (length != frequencies_length_) {
      const std::vector<double> exact = rope_inverse_frequencies(config, length);
      frequencies_.assign(exact.begin(), exact.end());
      frequencies_length_ = length;
    }
    for (size_t i = 0; i < half; ++i) {
      const float angle = static_cast<float>(positions_[r]) * frequencies_[i];
      cosines_[r * half + i] = std::cos(angle);
      sines_[r * half + i] = std::sin(angle);
    }
  }
}

// Norm (if any), rotary embedding and scale of all heads of one row of x [rows, heads * head_dim]:
// the pair (i, i + head_dim / 2) turns by the row's angle i.
void RuntimeModel::rotate(const std::vector<float>& norm, int64_t heads, int64_t row, float scale,
                          std::vector<float>& x) {
  const int64_t half = weights_.config.head_dim / 2;
  float* values = &x[elements(row * heads, 2 * half)];
  if (!norm.empty()) rms_norm(values, norm, heads, weights_.config.rms_norm_eps, values);
  kernels().rope.f32({.cos = &cosines_[elements(row, half)],
                      .sin = &sines_[elements(row, half)],
                      .heads = heads,
                      .head_dim = 2 * half,
                      .half = half,
                      .scale = scale},
                     values, values);
}

// y [rows, out_features] = x [rows, in_features] W^T + bias.
void RuntimeModel::apply(const std::vector<float>& x, int64_t rows,
                         std::initializer_list<Output> outputs) {
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
    matrix.multiply_rotated(rotation ? rotated_.data() : x.data(), rows, y.data(), pool_);
    if (linear.bias.empty()) continue;
    for (int64_t r = 0; r < rows; ++r)
      add(linear.bias.data(), matrix.out_features, &y[elements(r, matrix.out_features)]);
  }
}

// out [rows, hidden] = RMS norm of the residual stream.
void RuntimeModel::normalize(const std::vector<float>& weight, int64_t rows, float* out) {
  const int64_t hidden = weights_.config.hidden_size;
  for_each_row(rows, [&](int64_t r) {
    rms_norm(&x_[elements(r, hidden)], weight, 1, weights_.config.rms_norm_eps, out + r * hidden);
  });
}

void RuntimeModel::for_each_row(int64_t rows, const std::function<void(int64_t)>& task) {
  constexpr int64_t kRows = 8;  // in one task of the pool: a single row is too little work
  pool_.run((rows + kRows - 1) / kRows, [&](int64_t t) {
    for (int64_t r = t * kRows; r < std::min(rows, (t + 1) * kRows); ++r) task(r);
  });
}

void RuntimeModel::logits(std::span<const float> hidden, std::span<float> out) {
  const int64_t rows = std::ssize(hidden) / weights_.config.hidden_size;
  BITSMITH_CHECK(out.size() == elements(rows, weights_.config.vocab_size));
  weights_.head->multiply(hidden.data(), rows, out.data(), pool_);
}

bool RuntimeModel::prefill(std::span<const int32_t> tokens, KvCache& sequence,
                           const EachPiece& each_piece) {
  sequence.rope_length = std::max(sequence.rope_length, sequence.length() + std::ssize(tokens));
  std::vector<float> hidden;
  std::vector<TokenStep> rows;
  for (size_t first = 0; first < tokens.size(); first += kPromptRows) {
    rows.clear();
    for (const int32_t token :
         tokens.subspan(first, std::min(tokens.size() - first, static_cast<size_t>(kPromptRows))))
      rows.push_back({token, &sequence});
    hidden.resize(rows.size() * static_cast<size_t>(weights_.config.hidden_size));
    forward(rows, hidden);
    if (!each_piece(hidden)) return false;
  }
  return true;
}

uint64_t RuntimeModel::bytes_per_token() const {
  uint64_t bytes = weights_.head->bytes();
  for (const BlockWeights& block : weights_.blocks) {
    for (const WeightAndBias* linear :
         {&block.q, &block.k, &block.v, &block.o, &block.gate, &block.up, &block.down})
      bytes += linear->matrix->bytes();
  }
  return bytes;
}

}  // namespace bitsmith
