#include "runtime/grammar/token_trie.h"

#include <algorithm>
#include <functional>
#include <map>

#include "runtime/grammar/json_string.h"

namespace bitsmith {

TokenTrie::TokenTrie(const Tokenizer& tokenizer) : vocab_size_(tokenizer.vocab_size()) {
  read_tokens(tokenizer);
  make_nodes();
  run_strings();
}

void TokenTrie::read_tokens(const Tokenizer& tokenizer) {
  bytes_.resize(static_cast<size_t>(vocab_size_));
  for (int32_t id = 0; id < vocab_size_; ++id)
    bytes_[static_cast<size_t>(id)] = tokenizer.token_bytes(id);
  for (const std::string& special : tokenizer.special_tokens())
    if (const auto id = tokenizer.token_id(special)) bytes_[static_cast<size_t>(*id)].clear();
  for (int32_t id = 0; id < vocab_size_; ++id)
    if (!bytes(id).empty()) tokens_.push_back(id);
  std::ranges::stable_sort(tokens_, std::less(),
                           [&](int32_t id) -> const std::string& { return bytes(id); });
}

void TokenTrie::make_nodes() {
  std::vector<size_t> open;  // the nodes of the last token's beginnings
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& token = bytes(tokens_[i]);
    size_t common = 0;
    while (common < open.size() && common < token.size() &&
           nodes_[open[common]].byte == static_cast<unsigned char>(token[common]))
      ++common;
    for (; open.size() > common; open.pop_back())
      nodes_[open.back()].end = static_cast<int32_t>(nodes_.size());
    const auto place = static_cast<int32_t>(i);
    for (size_t depth = common; depth < token.size(); ++depth) {
      open.push_back(nodes_.size());
      nodes_.push_back({.byte = static_cast<unsigned char>(token[depth]),
                        .depth = static_cast<int32_t>(depth + 1),
                        .end = 0,
                        .first_token = place,
                        .last_token = place});
    }
    nodes_[open.back()].last_token = place + 1;
  }
  for (const size_t node : open) nodes_[node].end = static_cast<int32_t>(nodes_.size());
}

void TokenTrie::run_strings() {
  string_tokens_ = empty_set();
  string_characters_.resize(static_cast<size_t>(vocab_size_));
  std::map<std::string, std::vector<Ending>> ends;
  for (const int32_t id : tokens_) {
    const std::string& token = bytes(id);
    StringState state = StringState::kBody;
    int32_t characters = 0;
    size_t i = 0;
    for (; i < token.size(); ++i) {
      const auto byte = static_cast<unsigned char>(token[i]);
      if (state == StringState::kBody && byte == '"') break;
      characters += state == StringState::kBody;
      state = next_string_state(state, byte);
      if (state == StringState::kRefused) break;
    }
    if (state == StringState::kRefused) continue;
    if (i < token.size()) {
      ends[token.substr(i + 1)].push_back({id, characters});
      continue;
    }
    add_token(string_tokens_, id);
    string_characters_[static_cast<size_t>(id)] = characters;
    most_string_characters_ = std::max(most_string_characters_, characters);
  }
  for (auto& [rest, tokens] : ends) string_ends_.push_back({rest, std::move(tokens)});
}

}  // namespace bitsmith
