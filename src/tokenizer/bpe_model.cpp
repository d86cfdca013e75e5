#include "tokenizer/bpe_model.h"

#include <queue>

#include "base/error.h"
#include "tokenizer/utf8.h"

namespace bitsmith {
namespace {

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
}

struct Symbol {
  int32_t id;              // -1: merged into the one before
  int32_t previous, next;  // indices, -1 at the ends
};

struct Candidate {
  uint32_t rank;
  int32_t left;    // index of the left symbol
  int32_t merged;  // id of the result
  // priority_queue gives the largest: the lowest rank, of those the leftmost.
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : left > other.left;
  }
};

}  // namespace

BpeModel::BpeModel(Vocabulary vocabulary, const Merges& merges, BpeOptions options,
                   const std::string& source)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)) {
  merges_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const auto a = vocabulary_.find(left), b = vocabulary_.find(right),
               merged = vocabulary_.find(left + right);
    if (!a || !b || !merged)
      throw Error(concat(source, ": merge ", rank, " (", excerpt(left), " ", excerpt(right),
                         "): ", !a ? "its left part" : (!b ? "its right part" : "its result"),
                         " is not in the vocabulary"));
    if (options_.special.contains(left + right)) continue;
    merges_[pair_key(*a, *b)] = {static_cast<uint32_t>(rank), *merged};
  }
}

const BpeModel::Merge* BpeModel::find_merge(int32_t left, int32_t right) const {
  const auto it = merges_.find(pair_key(left, right));
  return it == merges_.end() ? nullptr : &it->second;
}

std::vector<int32_t> BpeModel::initial_symbols(std::string_view word) const {
  std::vector<int32_t> ids;
  ids.reserve(word.size());
  bool unknown_pending = false;
  while (!word.empty()) {
    const std::string_view character = word.substr(0, next_utf8(word).length);
    word.remove_prefix(character.size());
    if (const auto id = vocabulary_.find(character)) {
      if (unknown_pending) ids.push_back(*options_.unknown);
      unknown_pending = false;
      ids.push_back(*id);
      continue;
    }
    if (options_.byte_fallback) {
      const size_t before = ids.size();
      for (const char byte : character)
        if (const auto id = vocabulary_.find(byte_token(static_cast<unsigned char>(byte))))
          ids.push_back(*id);
      if (ids.size() == before + character.size()) continue;
      ids.resize(before);  // all of a character's bytes or none
    }
    if (!options_.unknown) continue;
    if (unknown_pending && !options_.fuse_unknown) ids.push_back(*options_.unknown);
    unknown_pending = true;
  }
  if (unknown_pending) ids.push_back(*options_.unknown);
  return ids;
}

void BpeModel::encode(std::string_view word, const Deadline& deadline,
                      std::vector<int32_t>& ids) const {
  if (options_.ignore_merges && !options_.special.contains(std::string(word))) {
    if (const auto id = vocabulary_.find(word)) {
      ids.push_back(*id);
      return;
    }
  }
  const std::vector<int32_t> initial = initial_symbols(word);
  const int32_t count = static_cast<int32_t>(initial.size());
  std::vector<Symbol> symbols(count);
  std::priority_queue<Candidate> queue;
  const auto consider = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0) return;
    if (const Merge* merge = find_merge(symbols[left].id, symbols[right].id))
      queue.push({merge->rank, left, merge->id});
  };
  for (int32_t i = 0; i < count; ++i) {
    symbols[i] = {initial[i], i - 1, i + 1 < count ? i + 1 : -1};
    consider(i - 1, i);
  }
  for (size_t step = 0; !queue.empty(); ++step) {
    if (step % kStepsBetweenChecks == 0) deadline.check();
    const Candidate candidate = queue.top();
    queue.pop();
    Symbol& left = symbols[candidate.left];
    if (left.id < 0 || left.next < 0) continue;
    Symbol& right = symbols[left.next];
    // The neighbors may have changed since; what counts is that they still give this result.
    const Merge* merge = find_merge(left.id, right.id);
    if (merge == nullptr || merge->id != candidate.merged) continue;
    left.id = candidate.merged;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) symbols[left.next].previous = candidate.left;
    consider(left.previous, candidate.left);
    consider(candidate.left, left.next);
  }
  for (int32_t i = count > 0 ? 0 : -1; i >= 0; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace bitsmith
