// Reads a representation's text ("int4g64", "gvq2d3b-s32") from left to right.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace bitsmith {

class SpecReader {
 public:
  // `grammar`: what every error ends with.
  SpecReader(const std::string& text, const std::string& grammar)
      : text_(text), grammar_(grammar), rest_(text_) {}
  SpecReader(const SpecReader&) = delete;
  SpecReader& operator=(const SpecReader&) = delete;

  // Skips `literal` if it comes next.
  bool take(std::string_view literal);
  void expect(std::string_view literal);
  void expect_end();
  bool at_digit() const { return !rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9'; }
  // A whole number in [low, high] without leading zeros; `what` names it in errors ("bits").
  int64_t number(const char* what, int64_t low, int64_t high);
  // A number up to `high` with at most two decimals, in hundredths.
  int64_t hundredths(const char* what, int64_t high);
  // Throws UsageError: the text, the reason, the grammar.
  [[noreturn]] void fail(const std::string& reason) const;

 private:
  std::string text_, grammar_;
  std::string_view rest_;
};

// Hundredths as a number with as many decimals as it needs: "1.5".
std::string decimal_text(int64_t hundredths);

}  // namespace bitsmith
