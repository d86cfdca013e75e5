#include "tokenizer/scored_pairs_tokenizer.h"

#include <queue>

#include "base/error.h"
#include "tokenizer/token_model.h"
#include "tokenizer/utf8.h"

namespace bitsmith {
namespace {

struct ScoredSymbol {
  std::string_view text;  // empty: merged into the one before
  int32_t previous, next;
};

struct ScoredCandidate {
  float score;
  int32_t left, right;  // indices of symbols
  size_t size;          // bytes of both, to see whether one has changed since
  bool operator<(const ScoredCandidate& other) const {
    return score != other.score ? score < other.score : left > other.left;
  }
};

}  // namespace

std::vector<int32_t> ScoredPairsTokenizer::encode(std::string_view text, bool add_special,
                                                  ParseSpecial parse_special,
                                                  const Deadline& deadline) const {
  check_text_size(text);
  std::vector<int32_t> ids;
  if (add_special) ids = parts_.prefix;
  const std::string whole = repair_utf8(text);
  // llama.cpp puts the space before every stretch of text that starts the input or follows a token.
  for (const auto& piece : parts_.added_tokens.split(whole, false, parse_special)) {
    if (piece.token != nullptr) {
      ids.push_back(piece.token->id);
      continue;
    }
    const std::string marked = replace_each(piece.text, " ", kSpaceMark);
    encode_piece(parts_.add_space_prefix ? std::string(kSpaceMark) + marked : marked, deadline,
                 ids);
  }
  if (add_special) ids.insert(ids.end(), parts_.suffix.begin(), parts_.suffix.end());
  return ids;
}

void ScoredPairsTokenizer::encode_piece(const std::string& text, const Deadline& deadline,
                                        std::vector<int32_t>& ids) const {
  std::vector<ScoredSymbol> symbols;
  std::priority_queue<ScoredCandidate> queue;
  const auto consider = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0) return;
    const std::string_view both(symbols[left].text.data(),
                                symbols[left].text.size() + symbols[right].text.size());
    if (const auto id = parts_.vocabulary.find(both); id && parts_.mergeable[*id])
      queue.push({parts_.scores[*id], left, right, both.size()});
  };
  for (std::string_view rest = text; !rest.empty();) {
    const int length = next_utf8(rest).length;
    const int32_t index = static_cast<int32_t>(symbols.size());
    symbols.push_back({rest.substr(0, length), index - 1, -1});
    if (index > 0) symbols[index - 1].next = index;
    consider(index - 1, index);
    rest.remove_prefix(length);
  }
  for (size_t step = 0; !queue.empty(); ++step) {
    if (step % kStepsBetweenChecks == 0) deadline.check();
    const ScoredCandidate candidate = queue.top();
    queue.pop();
    ScoredSymbol& left = symbols[candidate.left];
    ScoredSymbol& right = symbols[candidate.right];
    if (left.text.empty() || right.text.empty() ||
        left.text.size() + right.text.size() != candidate.size)
      continue;
    left.text = {left.text.data(), candidate.size};
    right.text = {};
    left.next = right.next;
    if (left.next >= 0) symbols[left.next].previous = candidate.left;
    consider(left.previous, candidate.left);
    consider(candidate.left, left.next);
  }
  bool unknown = false;  // neighboring unknown characters are one token
  for (int32_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[i].next)
    append_symbol(symbols[i].text, unknown, ids);
}

// A merged symbol is always a piece; a character may not be, and goes as bytes or as unknown.
void ScoredPairsTokenizer::append_symbol(std::string_view symbol, bool& unknown,
                                         std::vector<int32_t>& ids) const {
  const bool after_unknown = unknown;
  unknown = false;
  if (const auto id = parts_.vocabulary.find(symbol)) {
    ids.push_back(*id);
    return;
  }
  const size_t before = ids.size();
  for (const char c : symbol)
    if (const auto id = parts_.vocabulary.find(byte_token(static_cast<unsigned char>(c))))
      ids.push_back(*id);
  if (ids.size() == before + symbol.size()) return;
  ids.resize(before);  // all of a character's bytes or none
  unknown = parts_.unknown.has_value();
  if (unknown && !after_unknown) ids.push_back(*parts_.unknown);
}

std::string ScoredPairsTokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string out;
  bool first = true;  // the first text loses the space that encode() put before it
  for (const int32_t id : ids) {
    const std::string bytes = token_bytes(id);
    const AddedToken* added = parts_.added_tokens.find(id);
    if (skip_special && added != nullptr && added->special) continue;
    const bool strip = first && added == nullptr && parts_.add_space_prefix && bytes[0] == ' ';
    out += strip ? bytes.substr(1) : bytes;
    first = false;
  }
  return repair_utf8(out);
}

std::string ScoredPairsTokenizer::token_bytes(int32_t id) const {
  if (id < 0 || id >= vocab_size())
    throw Error(concat("token id ", id, " is outside the vocabulary of ", vocab_size()));
  const std::string& token = parts_.vocabulary.token(id);
  if (parts_.added_tokens.find(id) != nullptr) return token;
  if (const auto byte = parse_byte_token(token)) return std::string(1, static_cast<char>(*byte));
  return replace_each(token, kSpaceMark, " ");
}

}  // namespace bitsmith
