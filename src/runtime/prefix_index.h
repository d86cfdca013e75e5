// Which pages of keys and values hold which tokens: a tree whose nodes are pages, each after the
// page before it. Sequences that begin with the same pages of tokens share them.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <span>
#include <utility>

#include "kernels/attention.h"

namespace bitsmith {

class PrefixIndex {
 public:
  using PageTokens = std::span<const int32_t, kAttentionBlock>;
  // Never used twice, so a node that lost its parent is found by nobody.
  using NodeId = int64_t;
  // Where the tree begins for sequences whose keys are rotated alike (rope_class in kv_cache.h).
  static NodeId root(int64_t rope_class) { return -1 - rope_class; }

  struct Node {
    NodeId id;
    int32_t page;
  };
  // The page with these tokens after `parent`; null: there is none.
  const Node* find(NodeId parent, PageTokens tokens) const;
  // Adds one; there must be none yet.
  NodeId insert(NodeId parent, PageTokens tokens, int32_t page);
  // Marks nodes as just used, the last of the path most lately: pass a path from its end to the
  // root, and what follows a page is always forgotten before the page itself.
  void touch(NodeId id);
  // Forgets the page that was not used for the longest time, among those that `may_go`; -1: none
  // may.
  int32_t evict(const std::function<bool(int32_t page)>& may_go);
  int64_t size() const { return static_cast<int64_t>(nodes_.size()); }

 private:
  using Key = std::pair<NodeId, std::array<int32_t, kAttentionBlock>>;
  static Key key_of(NodeId parent, PageTokens tokens);

  std::map<Key, Node> nodes_;
  std::list<std::map<Key, Node>::iterator> by_use_;  // the most lately used first
  std::map<NodeId, std::list<std::map<Key, Node>::iterator>::iterator> places_;
  NodeId next_ = 0;
};

}  // namespace bitsmith
