// Text -> words, which the model encodes one by one: the `pre_tokenizer` of a tokenizer.json.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/json.h"
#include "tokenizer/regex.h"

namespace bitsmith {

// A text on its way to the model, cut into pieces. Steps cut further or rewrite the text.
struct Pieces {
  std::string text;
  std::vector<Span> spans;  // not empty, in order; what lies between them was removed
  bool at_start = false;    // the first piece begins where the whole input begins
  Deadline deadline = {};   // of the cutting: steps throw DeadlineError
};

class PreTokenizerStep {
 public:
  virtual ~PreTokenizerStep() = default;
  virtual void apply(Pieces& pieces) const = 0;
};

class PreTokenizer {
 public:
  PreTokenizer() = default;
  // `json` may be null (the whole text is one word). Throws Error naming what is supported.
  PreTokenizer(const Json& json, const std::string& source);

  // at_start: `text` begins where the whole input begins.
  Pieces apply(std::string text, bool at_start, const Deadline& deadline = {}) const;

 private:
  std::vector<std::unique_ptr<PreTokenizerStep>> steps_;  // nested sequences laid out flat
};

// What becomes of the matches of a pattern (and of the text between them) when text is cut.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// Appends the pieces of [0, size) cut at `matches` (in order, disjoint) and shifted by `offset`.
// invert: the text between the matches plays their part.
void split_at(const std::vector<Span>& matches, size_t size, SplitBehavior behavior, bool invert,
              size_t offset, std::vector<Span>& out);

}  // namespace bitsmith
