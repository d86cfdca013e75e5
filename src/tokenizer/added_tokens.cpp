#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "tokenizer/utf8.h"

namespace bitsmith {

AddedTokens::AddedTokens(std::vector<AddedToken> tokens,
                         const std::function<std::string(const std::string&)>& normalize)
    : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    const int32_t index = static_cast<int32_t>(i);
    by_id_[token.id] = index;
    by_content_.try_emplace(token.content, index);
    const std::string key = token.normalized ? normalize(token.content) : token.content;
    // A token with half a character (possible in GGUF files) would cut valid text into invalid.
    if (key.empty() || !is_valid_utf8(key)) continue;
    (token.normalized ? normalized_ : raw_).insert(key, index);
  }
}

std::vector<AddedTokens::Piece> AddedTokens::split(std::string_view text, bool normalized,
                                                   ParseSpecial parse_special) const {
  const ByteTrie& trie = normalized ? normalized_ : raw_;
  std::vector<Piece> pieces;
  size_t done = 0;  // everything before is in `pieces`
  const auto push_text = [&](size_t end) {
    if (done < end) pieces.push_back({text.substr(done, end - done), nullptr, done == 0});
  };
  for (size_t i = 0; i < text.size() && !trie.empty();) {
    int32_t index = -1;
    size_t length = 0;
    trie.for_each_prefix(text.substr(i), [&](int32_t value, size_t bytes) {
      index = value;
      length = bytes;
    });
    if (index < 0) {
      ++i;
      continue;
    }
    const AddedToken& token = tokens_[index];
    size_t begin = i, end = i + length;
    i = end;
    if (token.special && !parse_special.at(begin, end)) continue;
    if (token.single_word &&
        ((begin > 0 && is_word_character(last_code_point(text.substr(0, begin)))) ||
         (end < text.size() && is_word_character(next_utf8(text.substr(end)).code_point))))
      continue;
    if (token.lstrip) begin -= trailing_space(text.substr(0, begin));
    if (token.rstrip) end += leading_space(text.substr(end));
    push_text(begin);
    pieces.push_back({text.substr(begin, end - begin), &token, begin == 0});
    done = std::max(done, end);
  }
  push_text(text.size());
  return pieces;
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &tokens_[it->second];
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto it = by_content_.find(content);
  return it == by_content_.end() ? nullptr : &tokens_[it->second];
}

std::vector<std::string> AddedTokens::special_contents() const {
  std::vector<std::string> contents;
  for (const AddedToken& token : tokens_)
    if (token.special) contents.push_back(token.content);
  return contents;
}

int32_t AddedTokens::largest_id() const {
  int32_t largest = -1;
  for (const AddedToken& token : tokens_) largest = std::max(largest, token.id);
  return largest;
}

}  // namespace bitsmith
