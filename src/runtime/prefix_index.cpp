#include "runtime/prefix_index.h"

#include <algorithm>

#include "base/error.h"

namespace bitsmith {

PrefixIndex::Key PrefixIndex::key_of(NodeId parent, PageTokens tokens) {
  Key key;
  key.first = parent;
  std::copy(tokens.begin(), tokens.end(), key.second.begin());
  return key;
}

const PrefixIndex::Node* PrefixIndex::find(NodeId parent, PageTokens tokens) const {
  const auto found = nodes_.find(key_of(parent, tokens));
  return found == nodes_.end() ? nullptr : &found->second;
}

PrefixIndex::NodeId PrefixIndex::insert(NodeId parent, PageTokens tokens, int32_t page) {
  const auto [place, added] = nodes_.emplace(key_of(parent, tokens), Node{next_, page});
  BITSMITH_CHECK(added);
  by_use_.push_front(place);
  places_[next_] = by_use_.begin();
  return next_++;
}

void PrefixIndex::touch(NodeId id) {
  const auto place = places_.find(id);
  BITSMITH_CHECK(place != places_.end());
  by_use_.splice(by_use_.begin(), by_use_, place->second);
}

int32_t PrefixIndex::evict(const std::function<bool(int32_t)>& may_go) {
  for (auto place = by_use_.end(); place != by_use_.begin();) {
    --place;
    const Node node = (*place)->second;
    if (!may_go(node.page)) continue;
    nodes_.erase(*place);
    by_use_.erase(place);
    places_.erase(node.id);
    return node.page;
  }
  return -1;
}

}  // namespace bitsmith
