// The bytes of an answer's tokens -> text that can be shown: whole characters, nothing that belongs
// to a stop string.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace bitsmith {

class AnswerText {
 public:
  // Each stop string is not empty and valid UTF-8; the answer ends before the first that it meets.
  explicit AnswerText(std::vector<std::string> stop = {}) : stop_(std::move(stop)) {}

  // Takes the bytes of one more token and returns what is certain by now. The rest is held back:
  // bytes of an unfinished character, and what may be the beginning of a stop string.
  std::string push(std::string_view bytes);
  // A stop string was met: whatever comes is not part of the answer.
  bool stopped() const { return stopped_; }
  // The answer ends here: what was held back, with U+FFFD for an unfinished character.
  std::string finish();

 private:
  std::string release(bool all);

  std::vector<std::string> stop_;
  Utf8Stream characters_;
  std::string held_;  // whole characters
  bool stopped_ = false;
};

}  // namespace bitsmith
