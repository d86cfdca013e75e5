#include "runtime/kv_pool.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/half.h"
#include "base/log.h"

namespace bitsmith {
namespace {

int64_t padded(int64_t head_dim) {
  return (head_dim + kAttentionBlock - 1) / kAttentionBlock * kAttentionBlock;
}

// x[d] goes to the page's number first + d * stride; `numbers` are in the page, and `at` is its
// position.
void store_numbers(char* page, KvType type, int64_t first, int64_t stride, const float* x,
                   int64_t count, int64_t numbers, int64_t at) {
  if (type == KvType::kFloat32) {
    auto* to = reinterpret_cast<float*>(page) + first;
    for (int64_t d = 0; d < count; ++d) to[d * stride] = x[d];
  } else if (type == KvType::kFloat16) {
    // Beyond float16's range a key saturates: an infinity would turn scores into NaN.
    auto* to = reinterpret_cast<uint16_t*>(page) + first;
    for (int64_t d = 0; d < count; ++d)
      to[d * stride] = float_to_fp16(std::clamp(x[d], -65504.0f, 65504.0f));
  } else {
    // A NaN is no larger than anything and becomes 0.
    float largest = 0;
    for (int64_t d = 0; d < count; ++d)
      if (std::abs(x[d]) > largest && std::isfinite(x[d])) largest = std::abs(x[d]);
    const float inverse = largest > 0 ? 127 / largest : 0.0f;
    reinterpret_cast<float*>(page + numbers)[at] = largest / 127;
    auto* to = reinterpret_cast<int8_t*>(page) + first;
    for (int64_t d = 0; d < count; ++d) {
      const float code = std::clamp(x[d] * inverse, -127.0f, 127.0f);
      to[d * stride] = static_cast<int8_t>(std::isnan(code) ? 0 : std::lrint(code));
    }
  }
}

}  // namespace

const char* kv_type_name(KvType type) {
  switch (type) {
    case KvType::kFloat16:
      return "f16";
    case KvType::kFloat32:
      return "f32";
    case KvType::kInt8:
      return "int8";
  }
  return "";
}

int64_t KvPool::bytes_per_page(const ModelPlan& plan, KvType type) {
  const AttentionPlan& attention = plan.blocks.front().attention;
  return plan.num_blocks() * attention.kv_heads *
         (key_page_bytes(type, attention.head_dim) +
          value_page_bytes(type, padded(attention.head_dim)));
}

KvPool::KvPool(const ModelPlan& plan, int64_t pages, KvType type)
    : kv_heads_(plan.blocks.front().attention.kv_heads),
      head_dim_(plan.blocks.front().attention.head_dim),
      padded_head_dim_(padded(head_dim_)),
      type_(type) {
  BITSMITH_CHECK(pages > 0);
  const int64_t heads = plan.num_blocks() * kv_heads_;
  // calloc of a large size maps zero pages, which cost nothing until written.
  const auto allocate = [&](int64_t bytes) {
    return static_cast<char*>(
        std::calloc(static_cast<size_t>(heads * pages), static_cast<size_t>(bytes)));
  };
  if (pages <= INT32_MAX) {
    keys_.reset(allocate(key_page_bytes(type, head_dim_)));
    values_.reset(allocate(value_page_bytes(type, padded_head_dim_)));
  }
  if (!keys_ || !values_) {
    throw Error(concat("keys and values of ", pages * kPage, " tokens need ",
                       format_bytes(static_cast<double>(pages * bytes_per_page(plan, type))),
                       " of memory, which could not be had: use a smaller context"));
  }
  holders_.resize(static_cast<size_t>(pages), 0);
  kept_.resize(static_cast<size_t>(pages), false);
  for (int64_t page = pages; page-- > 0;) free_.push_back(static_cast<int32_t>(page));
}

int32_t KvPool::take() {
  int32_t page;
  if (!free_.empty()) {
    page = free_.back();
    free_.pop_back();
  } else {
    page = prefixes_.evict([this](int32_t p) { return !held(p); });
    BITSMITH_CHECK(page >= 0);
    kept_[static_cast<size_t>(page)] = false;
  }
  ++held_;
  holders_[static_cast<size_t>(page)] = 1;
  return page;
}

void KvPool::share(int32_t page) {
  int32_t& holders = holders_[static_cast<size_t>(page)];
  BITSMITH_CHECK(holders > 0 || kept_[static_cast<size_t>(page)]);
  if (holders++ == 0) ++held_;
}

void KvPool::release(int32_t page) {
  int32_t& holders = holders_[static_cast<size_t>(page)];
  BITSMITH_CHECK(holders > 0);
  if (--holders > 0) return;
  --held_;
  if (!kept_[static_cast<size_t>(page)]) free_.push_back(page);
}

PrefixIndex::NodeId KvPool::keep(PrefixIndex::NodeId parent, PrefixIndex::PageTokens tokens,
                                 int32_t page) {
  BITSMITH_CHECK(held(page) && !kept_[static_cast<size_t>(page)]);
  kept_[static_cast<size_t>(page)] = true;
  return prefixes_.insert(parent, tokens, page);
}

void KvPool::store(int32_t page, int64_t at, int64_t block_index, int64_t kv_head, const float* key,
                   const float* value) {
  const int64_t place = head(block_index, kv_head) * pages() + page;
  store_numbers(keys_.get() + place * key_page_bytes(type_, head_dim_), type_, at, kPage, key,
                head_dim_, kPage * head_dim_, at);
  store_numbers(values_.get() + place * value_page_bytes(type_, padded_head_dim_), type_,
                at * padded_head_dim_, 1, value, head_dim_, kPage * padded_head_dim_, at);
}

const char* KvPool::keys(int64_t block_index, int64_t kv_head) const {
  return keys_.get() + head(block_index, kv_head) * pages() * key_page_bytes(type_, head_dim_);
}

const char* KvPool::values(int64_t block_index, int64_t kv_head) const {
  return values_.get() +
         head(block_index, kv_head) * pages() * value_page_bytes(type_, padded_head_dim_);
}

}  // namespace bitsmith
