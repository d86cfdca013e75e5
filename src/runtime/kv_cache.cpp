#include "runtime/kv_cache.h"

#include <algorithm>

#include "architecture/rope.h"
#include "base/error.h"

namespace bitsmith {
namespace {

constexpr size_t kPage = KvPool::kPage;

// The nodes that the pool has for the beginning of `prompt`, at most `most` positions.
std::vector<PrefixIndex::Node> find_path(const KvPool& pool, PrefixIndex::NodeId root,
                                         std::span<const int32_t> prompt, int64_t most) {
  std::vector<PrefixIndex::Node> path;
  const size_t end = std::min(prompt.size(), static_cast<size_t>(std::max<int64_t>(0, most)));
  for (size_t first = 0; first + kPage <= end; first += kPage) {
    const PrefixIndex::NodeId parent = path.empty() ? root : path.back().id;
    const PrefixIndex::Node* node =
        pool.prefixes().find(parent, prompt.subspan(first).first<kPage>());
    if (!node) break;
    path.push_back(*node);
  }
  return path;
}

}  // namespace

int64_t rope_class(const ModelPlan& plan, int64_t length) {
  // Each class grows with the length, so equal sums have equal terms.
  int64_t sum = 0;
  for (const RopePlan& rope : plan.ropes) sum += rope_length_class(rope, length);
  return sum;
}

KvCache::KvCache(std::shared_ptr<KvPool> pool, int64_t capacity)
    : pool_(std::move(pool)), capacity_(capacity) {
  BITSMITH_CHECK(capacity > 0);
}

KvCache::KvCache(const ModelPlan& plan, int64_t capacity, KvType type)
    : KvCache(std::make_shared<KvPool>(plan, KvPool::pages_for(capacity), type), capacity) {}

KvCache::~KvCache() {
  if (pool_) truncate(0);  // else moved from
}

int64_t KvCache::append(int32_t token) {
  BITSMITH_CHECK(length() < capacity_);
  if (length() == static_cast<int64_t>(pages_.size() * kPage)) pages_.push_back(pool_->take());
  BITSMITH_CHECK(pool_->held_by_one(pages_.back()));
  tokens_.push_back(token);
  rope_length = std::max(rope_length, length());
  return length() - 1;
}

void KvCache::truncate(int64_t length) {
  BITSMITH_CHECK(length >= 0 && length <= this->length());
  tokens_.resize(static_cast<size_t>(length));
  const auto wanted = static_cast<size_t>(KvPool::pages_for(length));
  for (; pages_.size() > wanted; pages_.pop_back()) pool_->release(pages_.back());
  const auto whole = static_cast<size_t>(length) / kPage;
  if (path_.size() > whole) {
    // What a kept page holds no longer is what its node says once it is written to.
    BITSMITH_CHECK(length % KvPool::kPage == 0);
    path_.resize(whole);
  }
  if (length == 0) {
    rope_length = 0;
    keeps_ = false;
  }
}

void KvCache::store(int64_t block_index, int64_t kv_head, int64_t position, const float* key,
                    const float* value) {
  pool_->store(pages_[static_cast<size_t>(position) / kPage], position % KvPool::kPage, block_index,
               kv_head, key, value);
}

void KvCache::share_prefix(PrefixIndex::NodeId root, std::span<const int32_t> prompt,
                           int64_t most) {
  BITSMITH_CHECK(length() == 0);
  root_ = root;
  keeps_ = true;
  for (const PrefixIndex::Node& node : find_path(*pool_, root, prompt, most)) {
    pool_->share(node.page);
    pages_.push_back(node.page);
    path_.push_back(node.id);
  }
  const auto shared = prompt.first(pages_.size() * kPage);
  tokens_.assign(shared.begin(), shared.end());
  rope_length = std::max(rope_length, length());
  touch_path();
}

int64_t KvCache::held_prefix_pages(const KvPool& pool, PrefixIndex::NodeId root,
                                   std::span<const int32_t> prompt, int64_t most) {
  const auto path = find_path(pool, root, prompt, most);
  return std::ranges::count_if(path, [&](const auto& node) { return pool.held(node.page); });
}

PrefixIndex::PageTokens KvCache::page_tokens(size_t page) const {
  return std::span(tokens_).subspan(page * kPage).first<kPage>();
}

void KvCache::keep_pages(int64_t length, bool same_numbers) {
  const auto whole = static_cast<size_t>(length) / kPage;
  if (!keeps_ || path_.size() >= whole) return;
  while (keeps_ && path_.size() < whole) {
    const size_t next = path_.size();
    const PrefixIndex::NodeId parent = path_.empty() ? root_ : path_.back();
    const PrefixIndex::Node* known = pool_->prefixes().find(parent, page_tokens(next));
    if (known && !same_numbers) {
      keeps_ = false;
    } else if (known) {
      const PrefixIndex::Node node = *known;
      pool_->share(node.page);
      pool_->release(std::exchange(pages_[next], node.page));
      path_.push_back(node.id);
    } else {
      path_.push_back(pool_->keep(parent, page_tokens(next), pages_[next]));
    }
  }
  touch_path();
}

void KvCache::touch_path() {
  for (auto node = path_.rbegin(); node != path_.rend(); ++node) pool_->touch(*node);
}

}  // namespace bitsmith
