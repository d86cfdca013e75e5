// Unicode regular expressions by PCRE2 (compiled to machine code), in the dialect that Hugging Face
// tokenizers writes: Oniguruma's Ruby syntax.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "tokenizer/span.h"

namespace bitsmith {

// Immutable and thread-safe.
class Regex {
 public:
  // Throws Error naming `source` for a pattern that does not compile, or whose meaning differs
  // between the two dialects in a way that is not translated.
  Regex(const std::string& pattern, const std::string& source);
  // The first match at or after `from` of valid UTF-8, seen with all of `text` around it. Throws
  // Error when the search needs more steps or memory than a sane pattern does.
  std::optional<Span> find(std::string_view text, size_t from) const;
  // All matches from left to right, as Oniguruma's iterator gives them: an empty match right after
  // another match is passed over.
  template <typename Function>
  void for_each_match(std::string_view text, Function&& function) const {
    std::optional<size_t> last_end;
    for (size_t from = 0; from <= text.size();) {
      const auto match = find(text, from);
      if (!match) return;
      if (match->begin == match->end && match->end == last_end) {
        from = next_character(text, from);
        continue;
      }
      function(*match);
      from = match->end;
      last_end = from;
    }
  }

  // A pattern that matches `literal` itself.
  static std::string escape(std::string_view literal);

 private:
  static size_t next_character(std::string_view text, size_t at);
  std::shared_ptr<const void> code_;  // pcre2_code
  std::string source_;
};

}  // namespace bitsmith
