#include "kernels/attention.h"

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "kernels/test_support.h"

namespace bitsmith {
namespace {

// Keys and values of one head, as they are given and in the kernel's pages, which lie in memory in
// reversed order with one between them that must not be looked at.
struct Head {
  int64_t positions, head_dim, padded;
  KvType type;
  AlignedBuffer<float> keys, values;  // what the pages can hold of them
  std::vector<int32_t> pages;
  std::vector<char> key_pages, value_pages;

  Head(int64_t count, int64_t dim, KvType kv_type, Random& random)
      : positions(count),
        head_dim(dim),
        padded((dim + kAttentionBlock - 1) / kAttentionBlock * kAttentionBlock),
        type(kv_type),
        keys(normal_values(count * dim, random)),
        values(normal_values(count * dim, random)) {
    const int64_t used = (count + kAttentionBlock - 1) / kAttentionBlock;
    for (int64_t i = 0; i < used; ++i) pages.push_back(static_cast<int32_t>(2 * (used - 1 - i)));
    key_pages.resize(static_cast<size_t>(2 * used * key_page_bytes(type, dim)));
    value_pages.resize(static_cast<size_t>(2 * used * value_page_bytes(type, padded)));
    for (int64_t p = 0; p < count; ++p) store(p);
  }
  void store(int64_t p) {
    const int64_t at = p % kAttentionBlock;
    char* key = key_pages.data() + page_of(p) * key_page_bytes(type, head_dim);
    char* value = value_pages.data() + page_of(p) * value_page_bytes(type, padded);
    put(key, at, kAttentionBlock, head_dim, &keys[p * head_dim], kAttentionBlock * head_dim, at);
    put(value, at * padded, 1, head_dim, &values[p * head_dim], kAttentionBlock * padded, at);
  }
  int64_t page_of(int64_t p) const { return pages[static_cast<size_t>(p / kAttentionBlock)]; }
  // Stores numbers x[d] at first + d * stride, and rounds x to what is held.
  void put(char* page, int64_t first, int64_t stride, int64_t count, float* x, int64_t numbers,
           int64_t position) const {
    float largest = 0;
    for (int64_t d = 0; d < count; ++d) largest = std::max(largest, std::abs(x[d]));
    const float scale = largest / 127;
    if (type == KvType::kInt8) reinterpret_cast<float*>(page + numbers)[position] = scale;
    for (int64_t d = 0; d < count; ++d) {
      const int64_t i = first + d * stride;
      if (type == KvType::kFloat32) {
        reinterpret_cast<float*>(page)[i] = x[d];
      } else if (type == KvType::kFloat16) {
        reinterpret_cast<uint16_t*>(page)[i] = float_to_fp16(x[d]);
        x[d] = fp16_to_float(float_to_fp16(x[d]));
      } else {
        const auto code = static_cast<int8_t>(std::lround(x[d] / scale));
        reinterpret_cast<int8_t*>(page)[i] = code;
        x[d] = scale * static_cast<float>(code);
      }
    }
  }
  void attend(const KernelTable& level, const std::vector<AttentionQuery>& queries,
              float soft_cap = 0) const {
    std::vector<float> scratch(static_cast<size_t>(attention_scratch(positions, padded)));
    level.attention.attend({queries.data(), std::ssize(queries), head_dim, padded, type,
                            key_pages.data(), value_pages.data(), pages.data(), scratch.data(),
                            soft_cap});
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
    for (const KvType type : {KvType::kFloat32, KvType::kFloat16, KvType::kInt8}) {
      for (const int64_t head_dim : {4, 6, 64, 80}) {
        Random random(static_cast<uint64_t>(head_dim));
        constexpr int64_t kPositions = 77;
        const Head head(kPositions, head_dim, type, random);
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

// What a query sees does not depend on the queries beside it, bit for bit.
TEST(Attention, QueriesDoNotInfluenceEachOther) {
  for (const KernelTable& level : all_levels()) {
    for (const KvType type : {KvType::kFloat32, KvType::kFloat16, KvType::kInt8}) {
      Random random(5);
      const Head head(100, 24, type, random);
      constexpr int64_t kQueries = 13;
      const auto q = normal_values(kQueries * 24, random);
      std::vector<float> together(kQueries * 24), alone(24);
      std::vector<AttentionQuery> queries;
      for (int64_t i = 0; i < kQueries; ++i)
        queries.push_back(
            {q.data() + i * 24, &together[static_cast<size_t>(i * 24)], 3 * i, 100 - 2 * i});
      head.attend(level, queries);
      for (int64_t i = 0; i < kQueries; ++i) {
        AttentionQuery query = queries[static_cast<size_t>(i)];
        query.out = alone.data();
        head.attend(level, {query});
        for (int64_t d = 0; d < 24; ++d)
          ASSERT_EQ(alone[static_cast<size_t>(d)], together[static_cast<size_t>(i * 24 + d)])
              << isa_name(level.isa) << " " << i;
      }
    }
  }
}

// A score so large that exp overflows, or that all other weights vanish, must not give NaN.
TEST(Attention, LargeScores) {
  Random random(1);
  Head head(3, 4, KvType::kFloat32, random);
  for (int64_t p = 0; p < 3; ++p) {
    for (int64_t d = 0; d < 4; ++d) {
      head.keys[p * 4 + d] = p == 1 ? 500.0f : -500.0f;
      head.values[p * 4 + d] = static_cast<float>(p);
    }
    head.store(p);
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
