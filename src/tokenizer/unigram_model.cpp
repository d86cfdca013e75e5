#include "tokenizer/unigram_model.h"

#include <algorithm>

#include "tokenizer/utf8.h"

namespace bitsmith {
namespace {

constexpr double kUnknownPenalty = 10;  // SentencePiece's, below the worst piece

struct Best {  // the best way to end at a byte of the word
  double score = 0;
  size_t begin = SIZE_MAX;  // of its last piece
  int32_t id = -1;  // of its last piece; the unknown token's for a character without a piece
};

}  // namespace

UnigramModel::UnigramModel(Parts parts)
    : scores_(std::move(parts.scores)),
      special_(std::move(parts.special)),
      unknown_(parts.unknown),
      byte_fallback_(parts.byte_fallback) {
  vocabulary_ = Vocabulary(std::move(parts.tokens));
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    const std::string& token = vocabulary_.token(id);
    if (token.empty() || vocabulary_.find(token) != id || special_.contains(token)) continue;
    trie_.insert(token, id);
  }
  unknown_score_ = *std::min_element(scores_.begin(), scores_.end()) - kUnknownPenalty;
}

void UnigramModel::encode(std::string_view word, const Deadline& deadline,
                          std::vector<int32_t>& ids) const {
  std::vector<Best> best(word.size() + 1);
  const auto offer = [&](size_t end, double score, size_t begin, int32_t id) {
    if (best[end].begin == SIZE_MAX || score > best[end].score) best[end] = {score, begin, id};
  };
  for (size_t begin = 0, step = 0; begin < word.size(); ++step) {
    if (step % kStepsBetweenChecks == 0) deadline.check();
    const std::string_view rest = word.substr(begin);
    const size_t character = static_cast<size_t>(next_utf8(rest).length);
    const double before = best[begin].score;
    bool covered = false;
    if (!trie_.empty())
      trie_.for_each_prefix(rest, [&](int32_t id, size_t bytes) {
        offer(begin + bytes, before + scores_[static_cast<size_t>(id)], begin, id);
        covered |= bytes == character;
      });
    if (!covered) offer(begin + character, before + unknown_score_, begin, unknown_);
    begin += character;
  }
  struct Piece {
    std::string_view text;
    int32_t id;
  };
  std::vector<Piece> pieces;  // from the last to the first
  bool after_unknown = false;
  for (size_t end = word.size(); end > 0; end = best[end].begin) {
    const size_t begin = best[end].begin;
    const bool is_unknown = best[end].id == unknown_;
    if (is_unknown && after_unknown)
      pieces.back().text = word.substr(begin, end - begin + pieces.back().text.size());
    else
      pieces.push_back({word.substr(begin, end - begin), best[end].id});
    after_unknown = is_unknown;
  }
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
    if (piece->id == unknown_)
      append_unknown(piece->text, ids);
    else
      ids.push_back(piece->id);
  }
}

void UnigramModel::append_unknown(std::string_view piece, std::vector<int32_t>& ids) const {
  const auto id = vocabulary_.find(piece);
  if (id && !special_.contains(std::string(piece))) {
    ids.push_back(*id);
    return;
  }
  if (byte_fallback_) {
    const size_t before = ids.size();
    for (const char c : piece)
      if (const auto byte = vocabulary_.find(byte_token(static_cast<unsigned char>(c))))
        ids.push_back(*byte);
    if (ids.size() == before + piece.size()) return;
    ids.resize(before);
  }
  ids.push_back(unknown_);
}

}  // namespace bitsmith
