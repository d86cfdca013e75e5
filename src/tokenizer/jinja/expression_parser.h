// Tokens -> expressions, by Jinja's grammar.
#pragma once
#include <initializer_list>
#include <set>
#include <string>

#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/token_stream.h"

namespace bitsmith::jinja {

// Every function throws SyntaxError.
class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  // An expression, or several with commas between them as a tuple.
  ExpressionPtr parse_tuple(bool with_condition = true);
  ExpressionPtr parse_expression(bool with_condition = true);
  // | name(...) | name(...), at least one where the first `|` is not written.
  std::unique_ptr<Filter> parse_filters(bool first_without_bar);
  // Names, attributes of a namespace, tuples of both.
  Target parse_target(bool with_attributes);
  ArgumentList parse_arguments();
  // The names read so far.
  std::set<std::string> names;

 private:
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_comparison();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concatenation();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filters);
  ExpressionPtr parse_primary();
  ExpressionPtr parse_parentheses();
  ExpressionPtr parse_list();
  ExpressionPtr parse_dict();
  ExpressionPtr parse_postfix(ExpressionPtr value);
  ExpressionPtr parse_filters_and_tests(ExpressionPtr value);
  ExpressionPtr parse_subscript(ExpressionPtr object);
  ExpressionPtr parse_slice(ExpressionPtr object, ExpressionPtr begin, int line);
  ExpressionPtr parse_call(ExpressionPtr callee);
  ExpressionPtr parse_filter(ExpressionPtr value);
  ExpressionPtr parse_test(ExpressionPtr value);
  ExpressionPtr parse_binary(ExpressionPtr (ExpressionParser::*operand)(),
                             std::initializer_list<const char*> signs);
  ExpressionPtr sequence(int line, Sequence::Kind kind, Expressions items) const;
  ExpressionPtr with_arguments(ExpressionPtr node, const Expression* value,
                               const ArgumentList& arguments) const;
  Target parse_one_target(bool with_attributes);
  bool at_tuple_end() const;
  std::string parse_dotted_name(const char* what);
  // The node, after a look at how deep its parts are nested.
  using Parts = std::initializer_list<const Expression*>;
  ExpressionPtr nested(ExpressionPtr node, Parts parts) const;
  ExpressionPtr nested(ExpressionPtr node, const Expressions& parts) const;

  TokenStream& tokens_;
  int depth_ = 0;
};

}  // namespace bitsmith::jinja
