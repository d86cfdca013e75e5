// Keys and values of one sequence, for every transformer block: what attention reads instead of
// running the whole text again for each new token.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "architecture/model_plan.h"
#include "kernels/attention.h"

namespace bitsmith {

enum class KvType { kFloat16, kFloat32 };

// Memory is taken when it is first written, so a large capacity costs nothing by itself.
// Keys lie in blocks of 16 positions, [kv_heads, capacity / 16, head_dim, 16], so that 16 scores
// are one vector; values row by row, [kv_heads, capacity, padded_head_dim].
class KvCache {
 public:
  // Positions in a block of keys; also the padding of values.
  static constexpr int64_t kBlock = kAttentionBlock;

  // Throws Error when the memory cannot be had.
  KvCache(const ModelPlan& plan, int64_t capacity, KvType type = KvType::kFloat16);

  int64_t capacity() const { return capacity_; }  // positions
  int64_t length() const { return static_cast<int64_t>(tokens_.size()); }
  std::span<const int32_t> tokens() const { return tokens_; }
  KvType type() const { return type_; }

  // Announces one more token and returns its position; the model then stores its key and value.
  int64_t append(int32_t token);
  // Forgets everything from position `length` on.
  void truncate(int64_t length);

  // `dynamic` and `longrope` scaling depend on the sequence's length: the length that its keys are
  // now turned for. Grows with the positions run, and ahead of them when a long prompt is fed in
  // pieces.
  int64_t rope_length = 0;

  // key, value: [head_dim], after rope.
  void store(int64_t block_index, int64_t kv_head, int64_t position, const float* key,
             const float* value);
  // Where the keys and values of one head begin, as stored.
  const void* keys(int64_t block_index, int64_t kv_head) const;
  const void* values(int64_t block_index, int64_t kv_head) const;
  int64_t head_dim() const { return head_dim_; }
  int64_t padded_head_dim() const { return padded_head_dim_; }
  // Bytes that one position takes over all transformer blocks.
  int64_t bytes_per_position() const;

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  int64_t capacity_, kv_heads_, head_dim_, padded_head_dim_, num_blocks_;
  KvType type_;
  int64_t element_bytes_;
  std::vector<int32_t> tokens_;
  std::unique_ptr<void, Free> keys_, values_;
};

}  // namespace bitsmith
