// Memory for the keys and values of many sequences, in pages of kAttentionBlock positions over all
// transformer blocks and heads. A page is held by the sequences that read it, or kept for those to
// come, or free.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "architecture/model_plan.h"
#include "kernels/attention.h"
#include "runtime/prefix_index.h"

namespace bitsmith {

// "f16", "f32", "int8".
const char* kv_type_name(KvType type);

// Not thread-safe, but that several threads may store to places of their own.
class KvPool {
 public:
  // Positions in a page.
  static constexpr int64_t kPage = kAttentionBlock;
  // Of all its positions.
  static int64_t bytes_per_page(const ModelPlan& plan, KvType type);
  static int64_t pages_for(int64_t positions) { return (positions + kPage - 1) / kPage; }

  // Memory is taken when it is first written, so a large pool costs nothing by itself. Throws Error
  // when it cannot be had.
  KvPool(const ModelPlan& plan, int64_t pages, KvType type);
  KvPool(const KvPool&) = delete;
  KvPool& operator=(const KvPool&) = delete;

  KvType type() const { return type_; }
  int64_t pages() const { return static_cast<int64_t>(holders_.size()); }
  int64_t held_pages() const { return held_; }             // by sequences
  int64_t kept_pages() const { return prefixes_.size(); }  // for sequences to come; some are held

  // A page for one sequence; where none is free, the one kept for the longest time goes. There must
  // be fewer than pages() held.
  int32_t take();
  // One more sequence holds a page that is held or kept.
  void share(int32_t page);
  void release(int32_t page);
  bool held(int32_t page) const { return holders_[static_cast<size_t>(page)] > 0; }
  bool held_by_one(int32_t page) const { return holders_[static_cast<size_t>(page)] == 1; }

  // Pages that are kept when nobody holds them anymore.
  const PrefixIndex& prefixes() const { return prefixes_; }
  PrefixIndex::NodeId keep(PrefixIndex::NodeId parent, PrefixIndex::PageTokens tokens,
                           int32_t page);
  void touch(PrefixIndex::NodeId node) { prefixes_.touch(node); }

  // Position `at` of a page; key, value: [head_dim], after rope.
  void store(int32_t page, int64_t at, int64_t block_index, int64_t kv_head, const float* key,
             const float* value);
  // Where page 0 of a head begins (AttentionCall).
  const char* keys(int64_t block_index, int64_t kv_head) const;
  const char* values(int64_t block_index, int64_t kv_head) const;
  int64_t head_dim() const { return head_dim_; }
  int64_t padded_head_dim() const { return padded_head_dim_; }

 private:
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  int64_t head(int64_t block_index, int64_t kv_head) const {
    return block_index * kv_heads_ + kv_head;
  }

  int64_t kv_heads_, head_dim_, padded_head_dim_;
  KvType type_;
  std::vector<int32_t> holders_;  // of each page
  std::vector<bool> kept_;
  std::vector<int32_t> free_;  // the last one is taken first
  int64_t held_ = 0;
  PrefixIndex prefixes_;
  std::unique_ptr<char, Free> keys_, values_;  // [blocks * kv_heads, pages, bytes of a page]
};

}  // namespace bitsmith
