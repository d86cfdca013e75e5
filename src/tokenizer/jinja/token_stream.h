// Tokens one after another, for the two parsers.
#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "tokenizer/jinja/lexer.h"

namespace bitsmith::jinja {

class TokenStream {
 public:
  using Kind = Token::Kind;
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& peek(size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  Token next() {
    Token token = peek();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  int line() const { return peek().line; }
  bool at(Kind kind) const { return peek().kind == kind; }
  bool at_name(std::string_view name, size_t ahead = 0) const {
    return peek(ahead).kind == Kind::kName && peek(ahead).text == name;
  }
  bool at_operator(std::string_view sign, size_t ahead = 0) const {
    return peek(ahead).kind == Kind::kOperator && peek(ahead).text == sign;
  }
  bool take_name(std::string_view name) { return at_name(name) && (next(), true); }
  bool take_operator(std::string_view sign) { return at_operator(sign) && (next(), true); }

  void expect_name(std::string_view name) {
    if (!take_name(name)) fail_expected(concat("'", name, "'"));
  }
  void expect_operator(std::string_view sign) {
    if (!take_operator(sign)) fail_expected(concat("'", sign, "'"));
  }
  Token expect(Kind kind, const char* what) {
    if (!at(kind)) fail_expected(what);
    return next();
  }
  [[noreturn]] void fail(const std::string& message) const { throw SyntaxError{line(), message}; }
  [[noreturn]] void fail_expected(const std::string& what) const {
    fail(concat("expected ", what, ", found ", describe(peek())));
  }

 private:
  static std::string describe(const Token& token) {
    switch (token.kind) {
      case Kind::kEnd:
        return "the end of the template";
      case Kind::kData:
        return "text";
      case Kind::kVariableBegin:
        return "'{{'";
      case Kind::kVariableEnd:
        return "'}}'";
      case Kind::kBlockBegin:
        return "'{%'";
      case Kind::kBlockEnd:
        return "'%}'";
      default:
        return concat("'", excerpt(token.text, 40), "'");
    }
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
};

// Counts how deep the parsers are inside themselves.
class Nesting {
 public:
  Nesting(int& depth, const TokenStream& tokens) : depth_(depth) {
    constexpr int kMax = 100;
    if (++depth_ > kMax) {
      --depth_;
      tokens.fail(concat("nested more than ", kMax, " deep"));
    }
  }
  ~Nesting() { --depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  int& depth_;
};

}  // namespace bitsmith::jinja
