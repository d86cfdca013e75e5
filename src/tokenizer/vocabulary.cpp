#include "tokenizer/vocabulary.h"

#include "base/error.h"

namespace bitsmith {

Vocabulary::Vocabulary(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {
  ids_.reserve(tokens_.size());
  for (size_t id = 0; id < tokens_.size(); ++id)
    if (!tokens_[id].empty()) ids_[tokens_[id]] = static_cast<int32_t>(id);
}

Vocabulary Vocabulary::from_entries(std::vector<std::pair<std::string, int64_t>> entries,
                                    const std::string& source) {
  const int64_t limit = max_token_id(entries.size());
  int64_t largest = -1;
  for (const auto& [token, id] : entries) {
    if (id < 0 || id > limit)
      throw Error(concat(source, ": token id ", id, " is out of range for a vocabulary of ",
                         entries.size(), " entries"));
    largest = std::max(largest, id);
  }
  std::vector<std::string> tokens(largest + 1);
  for (auto& [token, id] : entries) {
    if (!tokens[id].empty())
      throw Error(concat(source, ": two entries of the vocabulary have the id ", id));
    tokens[id] = std::move(token);
  }
  return Vocabulary(std::move(tokens));
}

std::optional<unsigned char> parse_byte_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const char lower = c | 32;
    if (c >= '0' && c <= '9')
      value = value * 16 + (c - '0');
    else if (lower >= 'a' && lower <= 'f')
      value = value * 16 + (lower - 'a' + 10);
    else
      return std::nullopt;
  }
  return static_cast<unsigned char>(value);
}

std::string byte_token(unsigned char byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

std::string replace_each(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  size_t done = 0;
  for (size_t i = text.find(from); i != text.npos; i = text.find(from, done)) {
    out.append(text.substr(done, i - done)).append(to);
    done = i + from.size();
  }
  return out.append(text.substr(done));
}

}  // namespace bitsmith
