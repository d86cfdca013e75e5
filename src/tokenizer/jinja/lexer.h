// Jinja source -> tokens, with white space cut as Hugging Face sets Jinja up (trim_blocks,
// lstrip_blocks, no newline at the end).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bitsmith::jinja {

struct Token {
  enum class Kind {
    kData,  // text between tags
    kVariableBegin,
    kVariableEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd,
  };
  Kind kind;
  std::string text;  // of a string without quotation marks and escapes
  int line;
  int64_t integer = 0;
  double number = 0;
};

// A template that is not well-formed.
struct SyntaxError {
  int line;
  std::string message;
};

// The last token is kEnd. `source` is valid UTF-8. Throws SyntaxError.
std::vector<Token> tokenize(std::string_view source);

}  // namespace bitsmith::jinja
