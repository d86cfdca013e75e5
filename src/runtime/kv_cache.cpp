#include "runtime/kv_cache.h"

#include <algorithm>

#include "base/error.h"
#include "base/half.h"
#include "base/log.h"

namespace bitsmith {
namespace {

int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

void store_value(void* data, KvType type, int64_t index, float value) {
  if (type == KvType::kFloat32) {
    static_cast<float*>(data)[index] = value;
  } else {
    // Beyond float16's range a key saturates: an infinity would turn scores into NaN.
    static_cast<uint16_t*>(data)[index] = float_to_fp16(std::clamp(value, -65504.0f, 65504.0f));
  }
}

}  // namespace

KvCache::KvCache(const ModelPlan& plan, int64_t capacity, KvType type)
    : capacity_(capacity),
      kv_heads_(plan.blocks.front().attention.kv_heads),
      head_dim_(plan.blocks.front().attention.head_dim),
      padded_head_dim_(round_up(plan.blocks.front().attention.head_dim, kBlock)),
      num_blocks_(plan.num_blocks()),
      type_(type),
      element_bytes_(type == KvType::kFloat32 ? 4 : 2) {
  BITSMITH_CHECK(capacity > 0);
  const int64_t heads = num_blocks_ * kv_heads_, positions = round_up(capacity, kBlock);
  // calloc of a large size maps zero pages, which cost nothing until written.
  keys_.reset(std::calloc(static_cast<size_t>(heads * positions),
                          static_cast<size_t>(head_dim_ * element_bytes_)));
  values_.reset(std::calloc(static_cast<size_t>(heads * positions),
                            static_cast<size_t>(padded_head_dim_ * element_bytes_)));
  if (!keys_ || !values_) {
    throw Error(concat("a context of ", capacity, " tokens needs ",
                       format_bytes(static_cast<double>(positions * bytes_per_position())),
                       " of memory for keys and values, which could not be had: use a smaller "
                       "context"));
  }
}

int64_t KvCache::append(int32_t token) {
  BITSMITH_CHECK(length() < capacity_);
  tokens_.push_back(token);
  rope_length = std::max(rope_length, length());
  return length() - 1;
}

void KvCache::truncate(int64_t length) {
  BITSMITH_CHECK(length >= 0 && length <= this->length());
  tokens_.resize(static_cast<size_t>(length));
  if (length == 0) rope_length = 0;
}

void KvCache::store(int64_t block_index, int64_t kv_head, int64_t position, const float* key,
                    const float* value) {
  const int64_t head = block_index * kv_heads_ + kv_head, positions = round_up(capacity_, kBlock);
  const int64_t key_at =
      (head * positions + position / kBlock * kBlock) * head_dim_ + position % kBlock;
  const int64_t value_at = (head * positions + position) * padded_head_dim_;
  for (int64_t d = 0; d < head_dim_; ++d) {
    store_value(keys_.get(), type_, key_at + d * kBlock, key[d]);
    store_value(values_.get(), type_, value_at + d, value[d]);
  }
}

const void* KvCache::keys(int64_t block_index, int64_t kv_head) const {
  const int64_t head = block_index * kv_heads_ + kv_head, positions = round_up(capacity_, kBlock);
  return static_cast<const char*>(keys_.get()) + head * positions * head_dim_ * element_bytes_;
}

const void* KvCache::values(int64_t block_index, int64_t kv_head) const {
  const int64_t head = block_index * kv_heads_ + kv_head, positions = round_up(capacity_, kBlock);
  return static_cast<const char*>(values_.get()) +
         head * positions * padded_head_dim_ * element_bytes_;
}

int64_t KvCache::bytes_per_position() const {
  return num_blocks_ * kv_heads_ * (head_dim_ + padded_head_dim_) * element_bytes_;
}

}  // namespace bitsmith
