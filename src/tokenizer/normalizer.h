// Text -> the text that the model sees: the `normalizer` of a tokenizer.json.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tokenizer/regex.h"
#include "tokenizer/stretches.h"

namespace bitsmith {

class NormalizerStep {
 public:
  virtual ~NormalizerStep() = default;
  // Valid UTF-8 to valid UTF-8. Tells what became of the whole text.
  virtual std::string apply(std::string text, Stretches& stretches) const = 0;
};

class Normalizer {
 public:
  Normalizer() = default;
  // `json` may be null (no normalizer). Throws Error naming what is supported.
  Normalizer(const Json& json, const std::string& source);

  std::string apply(std::string text) const;
  // `stretches` of the text, in order and disjoint, become those of the result (stretches.h).
  std::string apply(std::string text, std::vector<Span>& stretches) const;

 private:
  std::vector<std::unique_ptr<NormalizerStep>> steps_;  // nested sequences laid out flat
};

// The text with every match replaced by `content` (taken literally).
std::string replace_all(std::string_view text, const Regex& pattern, std::string_view content);
std::string replace_all(std::string_view text, const Regex& pattern, std::string_view content,
                        Stretches& stretches);
// {"String": s} or {"Regex": r}, as Split and Replace have it.
Regex pattern_from_json(const Json& step, const std::string& source);

}  // namespace bitsmith
