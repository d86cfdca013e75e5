#include "runtime/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/half.h"
#include "base/random.h"
#include "kernels/cpu_features.h"
#include "runtime/kv_cache.h"

namespace bitsmith {
namespace {

ModelConfig one_head(int64_t head_dim) {
  ModelConfig config;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.num_key_value_heads = 2;
  config.head_dim = head_dim;
  return config;
}

std::vector<float> normal_vector(Random& random, int64_t count, double scale = 1) {
  std::vector<float> v(static_cast<size_t>(count));
  for (float& x : v) x = static_cast<float>(random.normal() * scale);
  return v;
}

// Straight from the definition, in float64.
std::vector<double> reference(const float* q, const std::vector<std::vector<float>>& keys,
                              const std::vector<std::vector<float>>& values, int64_t first,
                              int64_t end) {
  std::vector<double> scores;
  for (int64_t p = first; p < end; ++p) {
    double score = 0;
    for (size_t d = 0; d < keys[0].size(); ++d) score += double(q[d]) * keys[size_t(p)][d];
    scores.push_back(score);
  }
  const double largest = *std::max_element(scores.begin(), scores.end());
  std::vector<double> out(values[0].size());
  double total = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    const double weight = std::exp(scores[i] - largest);
    total += weight;
    for (size_t d = 0; d < out.size(); ++d) out[d] += weight * values[size_t(first) + i][d];
  }
  for (double& x : out) x /= total;
  return out;
}

class Attention : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!cpu_supports(GetParam())) GTEST_SKIP() << "this processor lacks " << isa_name(GetParam());
  }
};

TEST_P(Attention, EqualsTheDefinition) {
  const VectorFunctions& functions = vector_functions(GetParam());
  for (const KvType type : {KvType::kFloat32, KvType::kFloat16}) {
    for (const int64_t head_dim : {4, 6, 64, 80}) {
      Random random(static_cast<uint64_t>(head_dim));
      constexpr int64_t kPositions = 77, kBlockIndex = 1, kHead = 1;
      KvCache cache(one_head(head_dim), 100, type);
      std::vector<std::vector<float>> keys, values;
      for (int64_t p = 0; p < kPositions; ++p) {
        keys.push_back(normal_vector(random, head_dim));
        values.push_back(normal_vector(random, head_dim));
        if (type == KvType::kFloat16) {  // what the cache can hold, so that both see the same
          for (auto* row : {&keys.back(), &values.back()})
            for (float& x : *row) x = fp16_to_float(float_to_fp16(x));
        }
        cache.append(0);
        cache.store(kBlockIndex, kHead, p, keys.back().data(), values.back().data());
      }
      for (const int64_t count : {1, 3, 8, 13}) {
        const std::vector<float> q =
            normal_vector(random, count * head_dim, 1 / std::sqrt(double(head_dim)));
        std::vector<float> out(q.size());
        std::vector<AttentionQuery> queries;
        for (int64_t i = 0; i < count; ++i) {
          const int64_t end = 1 + random.below(kPositions);
          const int64_t first = i % 2 ? random.below(static_cast<uint32_t>(end)) : 0;
          queries.push_back({&q[size_t(i * head_dim)], &out[size_t(i * head_dim)], first, end});
        }
        std::vector<float> scratch(
            size_t(attention_scratch(cache.length(), cache.padded_head_dim())));
        functions.attention({queries.data(), count, head_dim, cache.padded_head_dim(),
                             cache.keys(kBlockIndex, kHead), cache.values(kBlockIndex, kHead),
                             type == KvType::kFloat16, scratch.data()});
        for (const AttentionQuery& query : queries) {
          const auto expected = reference(query.q, keys, values, query.first, query.end);
          for (size_t d = 0; d < expected.size(); ++d)
            ASSERT_NEAR(query.out[d], expected[d], 3e-6) << head_dim << " " << count;
        }
      }
    }
  }
}

// A score so large that exp overflows, or that all other weights vanish, must not give NaN.
TEST_P(Attention, LargeScores) {
  KvCache cache(one_head(4), 16, KvType::kFloat32);
  for (int64_t p = 0; p < 3; ++p) {
    const std::vector<float> key(4, p == 1 ? 500.0f : -500.0f), value(4, static_cast<float>(p));
    cache.append(0);
    cache.store(0, 0, p, key.data(), value.data());
  }
  const std::vector<float> q(4, 10.0f);
  std::vector<float> out(4), scratch(size_t(attention_scratch(3, cache.padded_head_dim())));
  const AttentionQuery query{q.data(), out.data(), 0, 3};
  vector_functions(GetParam())
      .attention({&query, 1, 4, cache.padded_head_dim(), cache.keys(0, 0), cache.values(0, 0),
                  false, scratch.data()});
  for (const float x : out) EXPECT_EQ(x, 1.0f);
}

TEST_P(Attention, SiluMul) {
  for (const int64_t count : {1, 16, 37}) {
    Random random(5);
    std::vector<float> gate = normal_vector(random, count, 20), up = normal_vector(random, count);
    gate[0] = -300;  // exp(300) is beyond float32
    const std::vector<float> before = gate;
    vector_functions(GetParam()).silu_mul(gate.data(), up.data(), count);
    for (size_t i = 0; i < gate.size(); ++i) {
      const double expected = before[i] / (1 + std::exp(-double(before[i]))) * up[i];
      EXPECT_NEAR(gate[i], expected, 1e-6 * std::abs(expected) + 1e-30);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, Attention, testing::Values(Isa::scalar, Isa::avx2, Isa::avx512),
                         [](const auto& info) { return std::string(isa_name(info.param)); });

TEST(KvCache, ClampsWhatFloat16CannotHold) {
  KvCache cache(one_head(4), 16, KvType::kFloat16);
  const std::vector<float> huge(4, 1e9f);
  cache.append(7);
  cache.store(0, 0, 0, huge.data(), huge.data());
  EXPECT_EQ(fp16_to_float(static_cast<const uint16_t*>(cache.values(0, 0))[3]), 65504.0f);
  EXPECT_EQ(cache.tokens()[0], 7);
  cache.truncate(0);
  EXPECT_EQ(cache.length(), 0);
}

}  // namespace
}  // namespace bitsmith
