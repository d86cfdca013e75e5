// What follows a value: subscripts, calls, filters, tests.
#include "tokenizer/jinja/expression_parser.h"

namespace bitsmith::jinja {
namespace {

using Kind = Token::Kind;

}  // namespace

std::string ExpressionParser::parse_dotted_name(const char* what) {
  std::string name = tokens_.expect(Kind::kName, what).text;
  while (tokens_.take_operator(".")) name += "." + tokens_.expect(Kind::kName, what).text;
  return name;
}

ExpressionPtr ExpressionParser::parse_postfix(ExpressionPtr value) {
  for (;;) {
    if (tokens_.at_operator(".") || tokens_.at_operator("["))
      value = parse_subscript(std::move(value));
    else if (tokens_.at_operator("("))
      value = parse_call(std::move(value));
    else
      return value;
  }
}

ExpressionPtr ExpressionParser::parse_filters_and_tests(ExpressionPtr value) {
  for (;;) {
    if (tokens_.take_operator("|"))
      value = parse_filter(std::move(value));
    else if (tokens_.at_name("is"))
      value = parse_test(std::move(value));
    else if (tokens_.at_operator("("))
      value = parse_call(std::move(value));
    else
      return value;
  }
}

ExpressionPtr ExpressionParser::parse_subscript(ExpressionPtr object) {
  const int line = tokens_.line();
  const Expression* inside = object.get();
  if (tokens_.take_operator(".")) {
    const Token token = tokens_.next();
    if (token.kind == Kind::kName)
      return nested(std::make_unique<Attribute>(line, std::move(object), token.text), {inside});
    if (token.kind != Kind::kInteger)
      throw SyntaxError{token.line,
                        concat("expected a name after '.', found '", excerpt(token.text, 40), "'")};
    auto index = std::make_unique<Constant>(line, token.integer);
    return nested(std::make_unique<Item>(line, std::move(object), std::move(index)), {inside});
  }
  tokens_.expect_operator("[");
  ExpressionPtr key = tokens_.at_operator(":") ? nullptr : parse_expression();
  if (tokens_.at_operator(":")) return parse_slice(std::move(object), std::move(key), line);
  if (tokens_.at_operator(",")) {
    Expressions keys;
    keys.push_back(std::move(key));
    while (tokens_.take_operator(",")) keys.push_back(parse_expression());
    key = sequence(line, Sequence::Kind::kTuple, std::move(keys));
  }
  tokens_.expect_operator("]");
  const Expression* index = key.get();
  return nested(std::make_unique<Item>(line, std::move(object), std::move(key)), {inside, index});
}

ExpressionPtr ExpressionParser::parse_slice(ExpressionPtr object, ExpressionPtr begin, int line) {
  auto node = std::make_unique<Slice>(line);
  node->object = std::move(object);
  node->begin = std::move(begin);
  tokens_.expect_operator(":");
  if (!tokens_.at_operator(":") && !tokens_.at_operator("]")) node->end = parse_expression();
  if (tokens_.take_operator(":") && !tokens_.at_operator("]")) node->step = parse_expression();
  tokens_.expect_operator("]");
  const Parts inside = {node->object.get(), node->begin.get(), node->end.get(), node->step.get()};
  return nested(std::move(node), inside);
}

ExpressionPtr ExpressionParser::with_arguments(ExpressionPtr node, const Expression* value,
                                               const ArgumentList& arguments) const {
  node->nesting = 1 + arguments.nesting();
  return nested(std::move(node), {value});
}

ExpressionPtr ExpressionParser::parse_call(ExpressionPtr callee) {
  auto node = std::make_unique<Call>(tokens_.line());
  Call& call = *node;
  call.callee = std::move(callee);
  call.arguments = parse_arguments();
  return with_arguments(std::move(node), call.callee.get(), call.arguments);
}

ArgumentList ExpressionParser::parse_arguments() {
  ArgumentList list;
  tokens_.expect_operator("(");
  while (!tokens_.at_operator(")")) {
    if (tokens_.at_operator("*") && !list.more_positional && !list.more_named) {
      tokens_.next();
      list.more_positional = parse_expression();
    } else if (tokens_.at_operator("**") && !list.more_named) {
      tokens_.next();
      list.more_named = parse_expression();
    } else if (tokens_.at(Kind::kName) && tokens_.at_operator("=", 1) && !list.more_named) {
      std::string name = tokens_.next().text;
      tokens_.next();
      list.named.emplace_back(std::move(name), parse_expression());
    } else if (list.named.empty() && !list.more_positional && !list.more_named) {
      list.positional.push_back(parse_expression());
    } else {
      tokens_.fail("an argument without a name follows others that have one");
    }
    if (!tokens_.take_operator(",")) break;
  }
  tokens_.expect_operator(")");
  return list;
}

ExpressionPtr ExpressionParser::parse_filter(ExpressionPtr value) {
  auto node = std::make_unique<Filter>(tokens_.line());
  Filter& filter = *node;
  filter.value = std::move(value);
  filter.name = parse_dotted_name("the name of a filter");
  if (tokens_.at_operator("(")) filter.arguments = parse_arguments();
  return with_arguments(std::move(node), filter.value.get(), filter.arguments);
}

std::unique_ptr<Filter> ExpressionParser::parse_filters(bool first_without_bar) {
  ExpressionPtr filters;
  while (first_without_bar || tokens_.take_operator("|")) {
    first_without_bar = false;
    filters = parse_filter(std::move(filters));
  }
  return std::unique_ptr<Filter>(static_cast<Filter*>(filters.release()));
}

ExpressionPtr ExpressionParser::parse_test(ExpressionPtr value) {
  auto node = std::make_unique<Test>(tokens_.next().line);
  Test& test = *node;
  const bool negated = tokens_.take_name("not");
  test.value = std::move(value);
  test.name = parse_dotted_name("the name of a test");
  const bool at_value = tokens_.at(Kind::kString) || tokens_.at(Kind::kInteger) ||
                        tokens_.at(Kind::kFloat) || tokens_.at_operator("[") ||
                        tokens_.at_operator("{") ||
                        (tokens_.at(Kind::kName) && !tokens_.at_name("else") &&
                         !tokens_.at_name("or") && !tokens_.at_name("and"));
  if (tokens_.at_operator("(")) {
    test.arguments = parse_arguments();
  } else if (at_value) {
    if (tokens_.at_name("is")) tokens_.fail("tests cannot be chained with 'is'");
    test.arguments.positional.push_back(parse_postfix(parse_primary()));
  }
  ExpressionPtr result = with_arguments(std::move(node), test.value.get(), test.arguments);
  if (!negated) return result;
  return nested(std::make_unique<Unary>(test.line, '!', std::move(result)), {&test});
}

}  // namespace bitsmith::jinja
