// A regular expression over module names, which must name at least one.
#pragma once
#include <regex>
#include <string>

#include "base/error.h"

namespace bitsmith {

// `use` is what the pattern is for, for messages: "keep". Throws UsageError for what is no regular
// expression.
class ModulePattern {
 public:
  ModulePattern(const char* use, const std::string& text) : use_(use), text_(text) {
    try {
      regex_ = std::regex(text);
    } catch (const std::regex_error& e) {
      throw UsageError(
          concat(use, " '", excerpt(text), "' is not a valid regular expression: ", e.what()));
    }
  }
  bool matches(const std::string& module) {
    const bool found = std::regex_search(module, regex_);
    used_ = used_ || found;
    return found;
  }
  void require_used(const std::string& example) const {
    if (!used_)
      throw UsageError(concat(use_, " '", excerpt(text_),
                              "' matches no matrix of this model; names are like ", example));
  }

 private:
  const char* use_;
  std::string text_;
  std::regex regex_;
  bool used_ = false;
};

}  // namespace bitsmith
