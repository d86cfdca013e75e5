// A regular expression of the command line over module names, which must name at least one.
#pragma once
#include <regex>
#include <string>

#include "base/error.h"

namespace bitsmith {

// `option` is the command line's, for messages. Throws UsageError for what is no regular
// expression.
class ModulePattern {
 public:
  ModulePattern(const char* option, const std::string& text) : option_(option), text_(text) {
    try {
      regex_ = std::regex(text);
    } catch (const std::regex_error& e) {
      throw UsageError(
          concat(option, " '", text, "' is not a valid regular expression: ", e.what()));
    }
  }
  bool matches(const std::string& module) {
    const bool found = std::regex_search(module, regex_);
    used_ = used_ || found;
    return found;
  }
  void require_used(const std::string& example) const {
    if (!used_)
      throw UsageError(concat(option_, " '", text_,
                              "' matches no matrix of this model; names are like ", example));
  }

 private:
  const char* option_;
  std::string text_;
  std::regex regex_;
  bool used_ = false;
};

}  // namespace bitsmith
