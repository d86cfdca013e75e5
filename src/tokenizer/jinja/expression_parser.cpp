#include "tokenizer/jinja/expression_parser.h"

#include <algorithm>

namespace bitsmith::jinja {
namespace {

using Kind = Token::Kind;

bool is_constant_name(const std::string& name) {
  return name == "true" || name == "True" || name == "false" || name == "False" || name == "none" ||
         name == "None";
}

Value constant_of(const std::string& name) {
  if (name == "none" || name == "None") return {};
  return name == "true" || name == "True";
}

}  // namespace

ExpressionPtr ExpressionParser::nested(ExpressionPtr node, Parts parts) const {
  constexpr int kMaxNesting = 200;
  for (const Expression* part : parts)
    if (part) node->nesting = std::max(node->nesting, part->nesting + 1);
  if (node->nesting > kMaxNesting)
    tokens_.fail(concat("an expression has more than ", kMaxNesting, " parts in a row"));
  return node;
}

ExpressionPtr ExpressionParser::nested(ExpressionPtr node, const Expressions& parts) const {
  for (const ExpressionPtr& part : parts) node = nested(std::move(node), {part.get()});
  return node;
}

bool ExpressionParser::at_tuple_end() const {
  return tokens_.at(Kind::kVariableEnd) || tokens_.at(Kind::kBlockEnd) ||
         tokens_.at_operator(")") || tokens_.at_name("recursive");
}

ExpressionPtr ExpressionParser::parse_tuple(bool with_condition) {
  const int line = tokens_.line();
  ExpressionPtr first = parse_expression(with_condition);
  if (!tokens_.at_operator(",")) return first;
  Expressions items;
  items.push_back(std::move(first));
  while (tokens_.take_operator(",") && !at_tuple_end())
    items.push_back(parse_expression(with_condition));
  return sequence(line, Sequence::Kind::kTuple, std::move(items));
}

ExpressionPtr ExpressionParser::sequence(int line, Sequence::Kind kind, Expressions items) const {
  auto node = std::make_unique<SequenceLiteral>(line, kind, std::move(items));
  const Expressions& parts = node->items;
  return nested(std::move(node), parts);
}

ExpressionPtr ExpressionParser::parse_expression(bool with_condition) {
  const Nesting nesting(depth_, tokens_);
  ExpressionPtr value = parse_or();
  while (with_condition && tokens_.at_name("if")) {
    auto node = std::make_unique<Conditional>(tokens_.next().line);
    node->condition = parse_or();
    node->then = std::move(value);
    if (tokens_.take_name("else")) node->otherwise = parse_expression();
    const Parts inside = {node->condition.get(), node->then.get(), node->otherwise.get()};
    value = nested(std::move(node), inside);
  }
  return value;
}

ExpressionPtr ExpressionParser::parse_or() {
  ExpressionPtr left = parse_and();
  while (tokens_.at_name("or")) {
    const int line = tokens_.next().line;
    auto node = std::make_unique<Logical>(line, true, std::move(left), parse_and());
    const Parts inside = {node->left.get(), node->right.get()};
    left = nested(std::move(node), inside);
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_and() {
  ExpressionPtr left = parse_not();
  while (tokens_.at_name("and")) {
    const int line = tokens_.next().line;
    auto node = std::make_unique<Logical>(line, false, std::move(left), parse_not());
    const Parts inside = {node->left.get(), node->right.get()};
    left = nested(std::move(node), inside);
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_not() {
  if (!tokens_.at_name("not")) return parse_comparison();
  const Nesting nesting(depth_, tokens_);
  const int line = tokens_.next().line;
  auto node = std::make_unique<Unary>(line, '!', parse_not());
  const Parts inside = {node->value.get()};
  return nested(std::move(node), inside);
}

ExpressionPtr ExpressionParser::parse_comparison() {
  static constexpr std::string_view kSigns[] = {"==", "!=", "<=", ">=", "<", ">"};
  auto node = std::make_unique<Comparison>(tokens_.line());
  node->first = parse_sum();
  for (;;) {
    std::string sign;
    const bool is_sign =
        std::ranges::any_of(kSigns, [&](auto s) { return tokens_.at_operator(s); });
    if (is_sign || tokens_.at_name("in")) {
      sign = tokens_.next().text;
    } else if (tokens_.at_name("not") && tokens_.at_name("in", 1)) {
      tokens_.next();
      tokens_.next();
      sign = "not in";
    } else {
      break;
    }
    node->others.emplace_back(sign, parse_sum());
  }
  if (node->others.empty()) return std::move(node->first);
  const Comparison& comparison = *node;
  ExpressionPtr result = nested(std::move(node), {comparison.first.get()});
  for (const auto& other : comparison.others)
    result = nested(std::move(result), {other.second.get()});
  return result;
}

ExpressionPtr ExpressionParser::parse_binary(ExpressionPtr (ExpressionParser::*operand)(),
                                             std::initializer_list<const char*> signs) {
  const auto at_sign = [&] {
    return std::ranges::any_of(signs, [&](const char* sign) { return tokens_.at_operator(sign); });
  };
  ExpressionPtr left = (this->*operand)();
  while (at_sign()) {
    const Token sign = tokens_.next();
    auto node = std::make_unique<Binary>(sign.line, sign.text, std::move(left), (this->*operand)());
    const Parts inside = {node->left.get(), node->right.get()};
    left = nested(std::move(node), inside);
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_sum() {
  return parse_binary(&ExpressionParser::parse_concatenation, {"+", "-"});
}

ExpressionPtr ExpressionParser::parse_concatenation() {
  const int line = tokens_.line();
  ExpressionPtr first = parse_product();
  if (!tokens_.at_operator("~")) return first;
  Expressions parts;
  parts.push_back(std::move(first));
  while (tokens_.take_operator("~")) parts.push_back(parse_product());
  auto node = std::make_unique<Concatenation>(line, std::move(parts));
  const Expressions& all = node->parts;
  return nested(std::move(node), all);
}

ExpressionPtr ExpressionParser::parse_product() {
  return parse_binary(&ExpressionParser::parse_power, {"*", "/", "//", "%"});
}

ExpressionPtr ExpressionParser::parse_power() {
  const auto operand = [](ExpressionParser& parser) { return parser.parse_unary(true); };
  ExpressionPtr left = operand(*this);
  while (tokens_.at_operator("**")) {
    const int line = tokens_.next().line;
    auto node = std::make_unique<Binary>(line, "**", std::move(left), operand(*this));
    const Parts inside = {node->left.get(), node->right.get()};
    left = nested(std::move(node), inside);
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_unary(bool with_filters) {
  const Nesting nesting(depth_, tokens_);
  ExpressionPtr value;
  if (tokens_.at_operator("-") || tokens_.at_operator("+")) {
    const Token sign = tokens_.next();
    auto node = std::make_unique<Unary>(sign.line, sign.text[0], parse_unary(false));
    const Parts inside = {node->value.get()};
    value = nested(std::move(node), inside);
  } else {
    value = parse_primary();
  }
  value = parse_postfix(std::move(value));
  return with_filters ? parse_filters_and_tests(std::move(value)) : std::move(value);
}

ExpressionPtr ExpressionParser::parse_primary() {
  if (tokens_.at_operator("(")) return parse_parentheses();
  if (tokens_.at_operator("[")) return parse_list();
  if (tokens_.at_operator("{")) return parse_dict();
  if (!tokens_.at(Kind::kName) && !tokens_.at(Kind::kInteger) && !tokens_.at(Kind::kFloat) &&
      !tokens_.at(Kind::kString))
    tokens_.fail_expected("an expression");
  const Token token = tokens_.next();
  if (token.kind == Kind::kInteger) return std::make_unique<Constant>(token.line, token.integer);
  if (token.kind == Kind::kFloat) return std::make_unique<Constant>(token.line, token.number);
  if (token.kind == Kind::kName) {
    if (is_constant_name(token.text))
      return std::make_unique<Constant>(token.line, constant_of(token.text));
    names.insert(token.text);
    return std::make_unique<Name>(token.line, token.text);
  }
  std::string text = token.text;  // neighboring strings are one
  while (tokens_.at(Kind::kString)) text += tokens_.next().text;
  return std::make_unique<Constant>(token.line, Text(text));
}

ExpressionPtr ExpressionParser::parse_parentheses() {
  const int line = tokens_.next().line;
  if (tokens_.take_operator(")"))
    return std::make_unique<SequenceLiteral>(line, Sequence::Kind::kTuple, Expressions());
  ExpressionPtr value = parse_tuple();
  tokens_.expect_operator(")");
  return value;
}

ExpressionPtr ExpressionParser::parse_list() {
  const int line = tokens_.next().line;
  Expressions items;
  while (!tokens_.at_operator("]")) {
    items.push_back(parse_expression());
    if (!tokens_.take_operator(",")) break;
  }
  tokens_.expect_operator("]");
  return sequence(line, Sequence::Kind::kList, std::move(items));
}

ExpressionPtr ExpressionParser::parse_dict() {
  auto node = std::make_unique<DictLiteral>(tokens_.next().line);
  while (!tokens_.at_operator("}")) {
    ExpressionPtr key = parse_expression();
    tokens_.expect_operator(":");
    node->entries.emplace_back(std::move(key), parse_expression());
    if (!tokens_.take_operator(",")) break;
  }
  tokens_.expect_operator("}");
  const DictLiteral& dict = *node;
  ExpressionPtr result = std::move(node);
  for (const auto& [key, value] : dict.entries)
    result = nested(std::move(result), {key.get(), value.get()});
  return result;
}

Target ExpressionParser::parse_one_target(bool with_attributes) {
  Target target;
  if (tokens_.take_operator("(")) {
    target = parse_target(with_attributes);
    tokens_.expect_operator(")");
    return target;
  }
  target.name = tokens_.expect(Kind::kName, "a name to assign to").text;
  if (is_constant_name(target.name)) tokens_.fail(concat("cannot assign to ", target.name));
  if (with_attributes && tokens_.take_operator("."))
    target.attribute = tokens_.expect(Kind::kName, "a name").text;
  return target;
}

Target ExpressionParser::parse_target(bool with_attributes) {
  const Nesting nesting(depth_, tokens_);
  Target first = parse_one_target(with_attributes);
  if (!tokens_.at_operator(",")) return first;
  Target all;
  all.is_tuple = true;
  all.parts.push_back(std::move(first));
  while (tokens_.take_operator(",") && (tokens_.at_operator("(") || tokens_.at(Kind::kName)) &&
         !tokens_.at_name("in"))
    all.parts.push_back(parse_one_target(with_attributes));
  return all;
}

}  // namespace bitsmith::jinja
