// Where a long text may be cut so that its parts give the tokens of the whole.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string_view>

namespace bitsmith {

// The place of the first space from `from` on that stands between two ASCII letters or digits,
// which no normalizer changes or joins with it; the text's size without one. The tokens are the
// whole's where no token has a space behind something else.
inline size_t find_space_cut(std::string_view text, size_t from) {
  const auto is_plain = [](char c) {
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
  };
  for (size_t at = std::max<size_t>(from, 1); at + 1 < text.size(); ++at)
    if (text[at] == ' ' && is_plain(text[at - 1]) && is_plain(text[at + 1])) return at;
  return text.size();
}

}  // namespace bitsmith
