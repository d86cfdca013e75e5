#include "runtime/kv_cache.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/half.h"

namespace bitsmith {
namespace {

ModelPlan two_heads(int64_t head_dim) {
  ModelPlan plan;
  plan.blocks.resize(2);
  for (BlockPlan& block : plan.blocks) {
    block.attention.heads = block.attention.kv_heads = 2;
    block.attention.head_dim = head_dim;
  }
  return plan;
}

TEST(KvCache, ClampsWhatFloat16CannotHold) {
  KvCache cache(two_heads(4), 16, KvType::kFloat16);
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
