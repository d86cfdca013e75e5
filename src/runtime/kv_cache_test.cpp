#include "runtime/kv_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/half.h"
#include "base/random.h"

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

std::vector<int32_t> counted(int32_t first, int32_t count) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back(first + i);
  return tokens;
}

void append(KvCache& cache, std::span<const int32_t> tokens) {
  for (const int32_t token : tokens) cache.append(token);
}

TEST(KvCache, ClampsWhatFloat16CannotHold) {
  KvCache cache(two_heads(4), 16, KvType::kFloat16);
  const std::vector<float> huge(4, 1e9f);
  cache.append(7);
  cache.store(0, 0, 0, huge.data(), huge.data());
  const auto* values = reinterpret_cast<const uint16_t*>(cache.pool().values(0, 0));
  EXPECT_EQ(fp16_to_float(values[3]), 65504.0f);
  EXPECT_EQ(cache.tokens()[0], 7);
  cache.truncate(0);
  EXPECT_EQ(cache.length(), 0);
}

// A number is at most half a step, the largest of its head divided by 254, from what was stored.
TEST(KvCache, Int8RoundsToHalfAStep) {
  constexpr int64_t kDim = 20, kPadded = 32;
  KvCache cache(two_heads(kDim), 40, KvType::kInt8);
  Random random(1);
  for (int64_t p = 0; p < 40; ++p) {
    cache.append(static_cast<int32_t>(p));
    std::vector<float> key(kDim), value(kDim);
    for (float& x : key) x = static_cast<float>(random.normal() * std::exp(random.normal() * 3));
    for (float& x : value) x = static_cast<float>(random.normal());
    cache.store(1, 1, p, key.data(), value.data());
    const int64_t page = cache.pages()[static_cast<size_t>(p / 16)], at = p % 16;
    const char* keys = cache.pool().keys(1, 1) + page * key_page_bytes(KvType::kInt8, kDim);
    const char* values =
        cache.pool().values(1, 1) + page * value_page_bytes(KvType::kInt8, kPadded);
    const float key_scale = reinterpret_cast<const float*>(keys + 16 * kDim)[at];
    const float value_scale = reinterpret_cast<const float*>(values + 16 * kPadded)[at];
    for (int64_t d = 0; d < kDim; ++d) {
      const auto i = static_cast<size_t>(d);
      EXPECT_NEAR(key_scale * reinterpret_cast<const int8_t*>(keys)[d * 16 + at], key[i],
                  0.501f * key_scale);
      EXPECT_NEAR(value_scale * reinterpret_cast<const int8_t*>(values)[at * kPadded + d], value[i],
                  0.501f * value_scale);
    }
  }
}

TEST(KvCache, Int8HoldsOnlyNumbers) {
  KvCache cache(two_heads(4), 16, KvType::kInt8);
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> wild = {nan, infinity, -infinity, 2.0f}, zeros(4, 0.0f);
  cache.append(1);
  cache.store(0, 0, 0, wild.data(), zeros.data());
  const char* keys = cache.pool().keys(0, 0);
  EXPECT_EQ(reinterpret_cast<const float*>(keys + 64)[0], 2.0f / 127);
  const auto* codes = reinterpret_cast<const int8_t*>(keys);
  EXPECT_EQ(codes[0], 0);
  EXPECT_EQ(codes[16], 127);
  EXPECT_EQ(codes[32], -127);
  EXPECT_EQ(codes[48], 127);
}

TEST(KvPool, PagesComeAndGo) {
  KvPool pool(two_heads(4), 3, KvType::kFloat16);
  const int32_t a = pool.take(), b = pool.take();
  EXPECT_NE(a, b);
  EXPECT_EQ(pool.held_pages(), 2);
  pool.share(a);
  pool.release(a);
  EXPECT_TRUE(pool.held_by_one(a));
  pool.release(a);
  EXPECT_FALSE(pool.held(a));
  EXPECT_EQ(pool.held_pages(), 1);
}

TEST(KvCache, EqualWholePagesAreShared) {
  const auto pool = std::make_shared<KvPool>(two_heads(4), 8, KvType::kFloat16);
  const auto prompt = counted(0, 40);
  const auto root = PrefixIndex::root(1);
  std::vector<int32_t> pages;
  {
    KvCache first(pool, 100);
    first.share_prefix(root, prompt, 39);
    EXPECT_EQ(first.length(), 0);
    append(first, prompt);
    first.keep_pages(40, true);
    pages.assign(first.pages().begin(), first.pages().end());
    EXPECT_EQ(pool->kept_pages(), 2);
    // Another one beside it, with another ending; and one whose keys are rotated another way.
    KvCache second(pool, 100), other(pool, 100);
    auto longer = counted(0, 33);
    longer.push_back(7);
    second.share_prefix(root, longer, 33);
    ASSERT_EQ(second.length(), 32);
    EXPECT_TRUE(std::equal(second.pages().begin(), second.pages().end(), pages.begin()));
    append(second, std::span(longer).subspan(32));
    EXPECT_NE(second.pages()[2], pages[2]);
    EXPECT_EQ(pool->held_pages(), 4);
    other.share_prefix(PrefixIndex::root(2), prompt, 39);
    EXPECT_EQ(other.length(), 0);
  }
  // The sequences are gone, their whole pages are not. The last position is always left to run.
  EXPECT_EQ(pool->held_pages(), 0);
  KvCache again(pool, 100), third(pool, 100);
  again.share_prefix(root, prompt, 39);
  EXPECT_EQ(again.length(), 32);
  third.share_prefix(root, std::span(prompt).first(32), 31);
  EXPECT_EQ(third.length(), 16);
}

// Two sequences run the same prompt at once: the later one goes over to the pages of the other.
TEST(KvCache, TheSamePageIsNotKeptTwice) {
  const auto pool = std::make_shared<KvPool>(two_heads(4), 8, KvType::kFloat16);
  const auto prompt = counted(0, 32);
  KvCache a(pool, 64), b(pool, 64), c(pool, 64);
  for (KvCache* cache : {&a, &b, &c}) {
    cache->share_prefix(PrefixIndex::root(1), prompt, 31);
    append(*cache, prompt);
  }
  EXPECT_EQ(pool->held_pages(), 6);
  a.keep_pages(32, true);
  b.keep_pages(32, true);
  EXPECT_TRUE(std::ranges::equal(a.pages(), b.pages()));
  EXPECT_EQ(pool->held_pages(), 4);
  c.keep_pages(32, false);  // its numbers are other ones
  EXPECT_FALSE(std::ranges::equal(a.pages(), c.pages()));
  EXPECT_EQ(pool->kept_pages(), 2);
}

// A pool of four pages that has kept two of an old text and two of a new one.
struct TwoTexts {
  TwoTexts() {
    for (const auto& text : {old_text, new_text}) {
      KvCache cache(pool, 64);
      cache.share_prefix(root, text, 31);
      append(cache, text);
      cache.keep_pages(32, true);
    }
  }
  // Positions of a text that a sequence finds; looking counts as a use.
  int64_t known(const std::vector<int32_t>& text) {
    KvCache reader(pool, 64);
    reader.share_prefix(root, text, 32);
    return reader.length();
  }

  const std::shared_ptr<KvPool> pool = std::make_shared<KvPool>(two_heads(4), 4, KvType::kFloat16);
  const std::vector<int32_t> old_text = counted(0, 32), new_text = counted(100, 32);
  const PrefixIndex::NodeId root = PrefixIndex::root(1);
};

TEST(KvPool, WhatWasNotUsedForTheLongestTimeGoesAndEndsGoBeforeBeginnings) {
  for (const int32_t wanted : {0, 1, 2}) {
    TwoTexts texts;
    KvCache fresh(texts.pool, 64);
    append(fresh, counted(200, 16 * wanted));
    EXPECT_EQ(texts.known(texts.old_text), 32 - 16 * wanted);
    EXPECT_EQ(texts.known(texts.new_text), 32);
  }
}

TEST(KvPool, WhatIsHeldStays) {
  TwoTexts texts;
  KvCache fresh(texts.pool, 64), reader(texts.pool, 64);
  append(fresh, counted(200, 32));
  reader.share_prefix(texts.root, texts.new_text, 16);
  append(fresh, counted(300, 16));
  EXPECT_EQ(reader.length(), 16);
  EXPECT_EQ(texts.known(texts.new_text), 16);
}

}  // namespace
}  // namespace bitsmith
