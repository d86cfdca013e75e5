// The two directions between a token's text and its id.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bitsmith {

class Vocabulary {
 public:
  Vocabulary() = default;
  // tokens[i] has id i; an empty one is a gap. Of equal texts the largest id is the one found.
  explicit Vocabulary(std::vector<std::string> tokens);
  // From (text, id) pairs. Throws Error naming `source` for negative ids, for two texts with one
  // id, and for ids far beyond the number of entries (a few bytes of file must not ask for
  // gigabytes).
  static Vocabulary from_entries(std::vector<std::pair<std::string, int64_t>> entries,
                                 const std::string& source);
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }  // the largest id + 1
  std::optional<int32_t> find(std::string_view token) const {
    const auto it = ids_.find(token);
    if (it == ids_.end()) return std::nullopt;
    return it->second;
  }
  const std::string& token(int32_t id) const { return tokens_[id]; }  // 0 <= id < size()

 private:
  std::vector<std::string> tokens_;
  std::unordered_map<std::string_view, int32_t> ids_;  // views of tokens_
};

// The largest id accepted in a file that names `entries` tokens.
constexpr int64_t max_token_id(size_t entries) {
  return 2 * static_cast<int64_t>(entries) + 100'000;
}

// "<0x0A>" -> 0x0A: the tokens for single bytes that SentencePiece vocabularies have.
std::optional<unsigned char> parse_byte_token(std::string_view token);
std::string byte_token(unsigned char byte);

// What SentencePiece writes for a space.
constexpr std::string_view kSpaceMark = "\u2581";
std::string replace_each(std::string_view text, std::string_view from, std::string_view to);

}  // namespace bitsmith
