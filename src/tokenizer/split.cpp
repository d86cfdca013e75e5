#include "tokenizer/pre_tokenizer.h"

namespace bitsmith {
namespace {

struct Part {
  Span span;
  bool is_match;
};

std::vector<Part> alternate(const std::vector<Span>& matches, size_t size, bool invert) {
  std::vector<Part> parts;
  parts.reserve(2 * matches.size() + 1);
  size_t done = 0;
  for (const Span& match : matches) {
    if (done != match.begin) parts.push_back({{done, match.begin}, invert});
    parts.push_back({match, !invert});
    done = match.end;
  }
  if (done != size) parts.push_back({{done, size}, invert});
  return parts;
}

}  // namespace

void split_at(const std::vector<Span>& matches, size_t size, SplitBehavior behavior, bool invert,
              size_t offset, std::vector<Span>& out) {
  const std::vector<Part> parts = alternate(matches, size, invert);
  const auto emit = [&](size_t begin, size_t end) {
    if (begin < end) out.push_back({offset + begin, offset + end});
  };
  for (size_t i = 0; i < parts.size(); ++i) {
    size_t begin = parts[i].span.begin, end = parts[i].span.end;
    const bool has_next = i + 1 < parts.size();
    switch (behavior) {
      case SplitBehavior::kRemoved:
        if (parts[i].is_match) continue;
        break;
      case SplitBehavior::kIsolated:
        break;
      case SplitBehavior::kMergedWithPrevious:  // of several matches in a row only the first
        if (!parts[i].is_match && has_next && parts[i + 1].is_match) end = parts[++i].span.end;
        break;
      case SplitBehavior::kMergedWithNext:  // ... only the last
        if (parts[i].is_match && has_next && !parts[i + 1].is_match) end = parts[++i].span.end;
        break;
      case SplitBehavior::kContiguous:
        for (; i + 1 < parts.size() && parts[i + 1].is_match == parts[i].is_match; ++i)
          end = parts[i + 1].span.end;
        break;
    }
    emit(begin, end);
  }
}

}  // namespace bitsmith
