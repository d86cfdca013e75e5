// Keys and values of one sequence, for every transformer block: what attention reads instead of
// running the whole text again for each new token. A list of pages of a KvPool.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/kv_pool.h"

namespace bitsmith {

// Stands for how a sequence of this length rotates its keys: two lengths rotate alike iff their
// classes are equal.
int64_t rope_class(const ModelPlan& plan, int64_t length);

class KvCache {
 public:
  // Up to `capacity` positions. The pages are taken one by one; the pool must have them then.
  KvCache(std::shared_ptr<KvPool> pool, int64_t capacity);
  // With a pool of its own. Throws Error when the memory cannot be had.
  KvCache(const ModelPlan& plan, int64_t capacity, KvType type = KvType::kFloat16);
  KvCache(KvCache&&) = default;
  KvCache& operator=(KvCache&&) = delete;
  ~KvCache();

  int64_t capacity() const { return capacity_; }  // positions
  int64_t length() const { return static_cast<int64_t>(tokens_.size()); }
  std::span<const int32_t> tokens() const { return tokens_; }
  const KvPool& pool() const { return *pool_; }
  std::span<const int32_t> pages() const { return pages_; }

  // Announces one more token and returns its position; the model then stores its key and value.
  int64_t append(int32_t token);
  // Forgets everything from position `length` on, which is 0 or in a page that no other sequence
  // holds.
  void truncate(int64_t length);

  // `dynamic` and `longrope` scaling depend on the sequence's length: the length that its keys are
  // now turned for. Grows with the positions run, and ahead of them when a long prompt is fed in
  // pieces.
  int64_t rope_length = 0;

  // key, value: [head_dim], after rope.
  void store(int64_t block_index, int64_t kv_head, int64_t position, const float* key,
             const float* value);

  // Takes what the pool has kept of the beginning of `prompt`, but at most `most` positions; the
  // sequence is empty. `root` is that of the sequence's rope_class.
  void share_prefix(PrefixIndex::NodeId root, std::span<const int32_t> prompt, int64_t most);
  // Of the pages that share_prefix would take those that a sequence holds now.
  static int64_t held_prefix_pages(const KvPool& pool, PrefixIndex::NodeId root,
                                   std::span<const int32_t> prompt, int64_t most);
  // Lets sequences to come share the whole pages among the first `length` positions, which are
  // stored. Where the pool has the same page already, the sequence goes over to it if
  // `same_numbers` says that its numbers are the same, and keeps the rest to itself if not.
  void keep_pages(int64_t length, bool same_numbers);

 private:
  PrefixIndex::PageTokens page_tokens(size_t page) const;
  void touch_path();

  std::shared_ptr<KvPool> pool_;
  int64_t capacity_;
  std::vector<int32_t> tokens_, pages_;
  // Of the first pages: their nodes. keep_pages goes on behind them, unless it gave up.
  PrefixIndex::NodeId root_ = 0;
  std::vector<PrefixIndex::NodeId> path_;
  bool keeps_ = false;
};

}  // namespace bitsmith
