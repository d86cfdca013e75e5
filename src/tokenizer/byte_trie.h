// A trie over bytes: which keys does a text begin with?
#pragma once
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bitsmith {

class ByteTrie {
 public:
  // `key` is not empty, `value` not negative. Of equal keys the first stays.
  void insert(std::string_view key, int32_t value) {
    int32_t node = 0;
    starts_[static_cast<unsigned char>(key[0])] = true;
    for (const char c : key) {
      const auto [it, is_new] =
          edges_.try_emplace(edge(node, c), static_cast<int32_t>(values_.size()));
      if (is_new) values_.push_back(-1);
      node = it->second;
    }
    if (values_[node] < 0) values_[node] = value;
  }
  // Calls use(value, bytes) for every key that `text`, which is not empty, begins with, the
  // shortest first.
  template <typename Use>
  void for_each_prefix(std::string_view text, Use&& use) const {
    if (!starts_[static_cast<unsigned char>(text[0])]) return;
    int32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      const auto it = edges_.find(edge(node, text[i]));
      if (it == edges_.end()) return;
      node = it->second;
      if (values_[node] >= 0) use(values_[node], i + 1);
    }
  }
  bool empty() const { return values_.size() == 1; }

 private:
  static uint64_t edge(int32_t node, char c) {
    return static_cast<uint64_t>(node) << 8 | static_cast<unsigned char>(c);
  }
  std::unordered_map<uint64_t, int32_t> edges_;  // node << 8 | byte -> node; node 0 is the root
  std::vector<int32_t> values_ = {-1};
  bool starts_[256] = {};
};

}  // namespace bitsmith
