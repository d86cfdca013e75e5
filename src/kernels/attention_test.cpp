#include "kernels/attention.h"

#include <algorithm>

#include "base/half.h"
#include "kernels/test_support.h"

namespace bitsmith {
namespace {

// Keys and values of one head, in the order of the kernel; the memory is zero where nothing is.
struct Head {
  int64_t positions, head_dim, padded;
  bool float16;
  AlignedBuffer<float> keys, values;  // as they are given
  AlignedBuffer<float> key_blocks, value_rows;
  AlignedBuffer<uint16_t> key_halves, value_halves;

  Head(int64_t count, int64_t dim, bool half, Random& random)
      : positions(count),
        head_dim(dim),
        padded((dim + kAttentionBlock - 1) / kAttentionBlock * kAttentionBlock),
        float16(half),
        keys(normal_values(count * dim, random)),
        values(normal_values(count * dim, random)) {
    const int64_t rows = (count + kAttentionBlock - 1) / kAttentionBlock * kAttentionBlock;
    key_blocks = AlignedBuffer<float>(rows * dim);
    value_rows = AlignedBuffer<float>(rows * padded);
    key_halves = AlignedBuffer<uint16_t>(rows * dim);
    value_halves = AlignedBuffer<uint16_t>(rows * padded);
    for (int64_t p = 0; p < count; ++p) {
      for (int64_t d = 0; d < dim; ++d) {
        for (AlignedBuffer<float>* x : {&keys, &values}) {  // what float16 can hold
          float& value = (*x)[p * dim + d];
          if (half) value = fp16_to_float(float_to_fp16(value));
        }
        set(p, d);
      }
    }
  }
  void set(int64_t p, int64_t d) {
    const int64_t at = p / kAttentionBlock * kAttentionBlock * head_dim + d * kAttentionBlock +
                       p % kAttentionBlock;
    key_blocks[at] = keys[p * head_dim + d];
    value_rows[p * padded + d] = values[p * head_dim + d];
    key_halves[at] = float_to_fp16(key_blocks[at]);
    value_halves[p * padded + d] = float_to_fp16(value_rows[p * padded + d]);
  }
  void attend(const KernelTable& level, const std::vector<AttentionQuery>& queries,
              float soft_cap = 0) const {
    std::vector<float> scratch(static_cast<size_t>(attention_scratch(positions, padded)));
    const void* k = key_blocks.data();
    const void* v = value_rows.data();
    if (float16) {
      k = key_halves.data();
      v = value_halves.data();
    }
    level.attention.attend({queries.data(), std::ssize(queries), head_dim, padded, k, v, float16,
                            scratch.data(), soft_cap});
  }
  // Straight from the definition, in float64.
  std::vector<double> reference(const AttentionQuery& query, double soft_cap) const {
    std::vector<double> scores;
    for (int64_t p = query.first; p < query.end; ++p) {
      double score = 0;
      for (int64_t d = 0; d < head_dim; ++d) score += double{query.q[d]} * keys[p * head_dim + d];
      if (soft_cap != 0) score = soft_cap * std::tanh(score / soft_cap);
      scores.push_back(score + query.alibi_slope * static_cast<double>(p - (query.end - 1)));
    }
    const double largest = *std::max_element(scores.begin(), scores.end());
    std::vector<double> out(static_cast<size_t>(head_dim));
    double total = 0;
    for (size_t i = 0; i < scores.size(); ++i) {
      const double weight = std::exp(scores[i] - largest);
      total += weight;
      for (int64_t d = 0; d < head_dim; ++d)
        out[static_cast<size_t>(d)] +=
            weight * values[(query.first + static_cast<int64_t>(i)) * head_dim + d];
    }
    for (double& x : out) x /= total;
    return out;
  }
};

TEST(Attention, EqualsTheDefinition) {
  for (const KernelTable& level : all_levels()) {
    for (const bool float16 : {false, true}) {
      for (const int64_t head_dim : {4, 6, 64, 80}) {
        Random random(static_cast<uint64_t>(head_dim));
        constexpr int64_t kPositions = 77;
        const Head head(kPositions, head_dim, float16, random);
        for (const int64_t count : {1, 3, 8, 13}) {
          for (const bool adjusted : {false, true}) {
            auto q = normal_values(count * head_dim, random);
            for (int64_t i = 0; i < q.size(); ++i)
              q[i] *= (adjusted ? 8.0f : 1.0f) / std::sqrt(static_cast<float>(head_dim));
            AlignedBuffer<float> out(count * head_dim);
            std::vector<AttentionQuery> queries;
            for (int64_t i = 0; i < count; ++i) {
              const int64_t end = 1 + random.below(kPositions);
              const int64_t first = i % 2 ? random.below(static_cast<uint32_t>(end)) : 0;
              queries.push_back({q.data() + i * head_dim, out.data() + i * head_dim, first, end,
                                 adjusted && i % 3 ? 0.25f / static_cast<float>(i) : 0.0f});
            }
            const float soft_cap = adjusted && count != 3 ? 5.0f : 0.0f;
            head.attend(level, queries, soft_cap);
            for (const AttentionQuery& query : queries) {
              const auto expected = head.reference(query, soft_cap);
              for (size_t d = 0; d < expected.size(); ++d)
                ASSERT_NEAR(query.out[d], expected[d], adjusted ? 1e-5 : 3e-6)
                    << isa_name(level.isa) << " " << head_dim << " " << count << " " << adjusted;
            }
          }
        }
      }
    }
  }
}

// A score so large that exp overflows, or that all other weights vanish, must not give NaN.
TEST(Attention, LargeScores) {
  Random random(1);
  Head head(3, 4, false, random);
  for (int64_t p = 0; p < 3; ++p) {
    for (int64_t d = 0; d < 4; ++d) {
      head.keys[p * 4 + d] = p == 1 ? 500.0f : -500.0f;
      head.values[p * 4 + d] = static_cast<float>(p);
      head.set(p, d);
    }
  }
  const std::vector<float> q(4, 10.0f);
  std::vector<float> out(4);
  for (const KernelTable& level : all_levels()) {
    head.attend(level, {{q.data(), out.data(), 0, 3}});
    for (const float x : out) EXPECT_EQ(x, 1.0f);
  }
}

}  // namespace
}  // namespace bitsmith
