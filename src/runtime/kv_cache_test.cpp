#include "runtime/kv_cache.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/half.h"

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
