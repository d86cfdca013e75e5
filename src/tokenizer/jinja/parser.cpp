#include "tokenizer/jinja/parser.h"

#include <algorithm>
#include <map>
#include <set>

#include "tokenizer/jinja/expression_parser.h"

namespace bitsmith::jinja {
namespace {

using Kind = Token::Kind;
using Statements = std::unique_ptr<Statement>;

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)), expressions_(tokens_) {}

  Body parse() {
    Body body = parse_until({});
    return body;
  }

 private:
  using Names = std::initializer_list<const char*>;

  // Statements up to a tag with one of these names, which is then the next token; without names up
  // to the end of the template.
  Body parse_until(Names ends) {
    const Nesting nesting(depth_, tokens_);
    Body body;
    for (;;) {
      if (tokens_.at(Kind::kEnd)) {
        if (ends.size() == 0) return body;
        tokens_.fail(concat("the template ends where {% ", *(ends.end() - 1), " %} is expected"));
      }
      const Token token = tokens_.next();
      if (token.kind == Kind::kData) {
        body.push_back(std::make_unique<Data>(token.line, token.text));
      } else if (token.kind == Kind::kVariableBegin) {
        body.push_back(std::make_unique<Output>(token.line, expressions_.parse_tuple()));
        tokens_.expect(Kind::kVariableEnd, "'}}'");
      } else {
        if (std::ranges::any_of(ends, [&](const char* end) { return tokens_.at_name(end); }))
          return body;
        parse_statement(body);
        end_tag();
      }
    }
  }
  void end_tag() { tokens_.expect(Kind::kBlockEnd, "'%}'"); }
  // The body of a tag whose inside has been read, and the tag that ends it but for its "%}".
  Body parse_body(const char* end) {
    Body body = begin_body({end});
    tokens_.next();
    return body;
  }
  Body begin_body(Names ends) {
    tokens_.take_operator(":");
    end_tag();
    return parse_until(ends);
  }

  void parse_statement(Body& body) {
    static const std::map<std::string, Statements (Parser::*)(int)> kTags = {
        {"if", &Parser::parse_if},       {"for", &Parser::parse_for},
        {"set", &Parser::parse_set},     {"macro", &Parser::parse_macro},
        {"call", &Parser::parse_call},   {"filter", &Parser::parse_filter},
        {"with", &Parser::parse_with},   {"generation", &Parser::parse_generation},
        {"break", &Parser::parse_break}, {"continue", &Parser::parse_continue},
    };
    const Token name = tokens_.expect(Kind::kName, "the name of a tag");
    if (name.text == "print") return parse_print(body);
    const auto tag = kTags.find(name.text);
    if (tag == kTags.end()) throw SyntaxError{name.line, unknown_tag(name.text)};
    body.push_back((this->*tag->second)(name.line));
  }

  static std::string unknown_tag(const std::string& name) {
    static constexpr std::string_view kOtherTemplates[] = {"include", "extends", "import",
                                                           "from",    "block",   "autoescape"};
    const char* reason = std::ranges::find(kOtherTemplates, name) != std::end(kOtherTemplates)
                             ? " has no meaning in a chat template, which stands alone"
                             : " is not known here";
    return concat("the tag '", excerpt(name, 40), "'", reason);
  }

  void parse_print(Body& body) {
    while (!tokens_.at(Kind::kBlockEnd)) {
      const int line = tokens_.line();
      body.push_back(std::make_unique<Output>(line, expressions_.parse_expression()));
      if (!tokens_.take_operator(",")) break;
    }
  }

  Statements parse_if(int line) {
    auto node = std::make_unique<If>(line);
    do {
      ExpressionPtr condition = expressions_.parse_tuple(/*with_condition=*/false);
      Body body = begin_body({"elif", "else", "endif"});
      node->branches.emplace_back(std::move(condition), std::move(body));
    } while (tokens_.take_name("elif"));
    if (tokens_.take_name("else"))
      node->otherwise = parse_body("endif");
    else
      tokens_.next();
    return node;
  }

  Statements parse_for(int line) {
    auto node = std::make_unique<For>(line);
    node->target = expressions_.parse_target(/*with_attributes=*/false);
    tokens_.expect_name("in");
    node->values = expressions_.parse_tuple(/*with_condition=*/false);
    if (tokens_.take_name("if")) node->condition = expressions_.parse_expression();
    node->recursive = tokens_.take_name("recursive");
    ++loops_;
    node->body = begin_body({"else", "endfor"});
    --loops_;
    if (tokens_.take_name("else"))
      node->otherwise = parse_body("endfor");
    else
      tokens_.next();
    return node;
  }

  Statements parse_set(int line) {
    Target target = expressions_.parse_target(/*with_attributes=*/true);
    if (tokens_.take_operator("=")) {
      auto node = std::make_unique<Set>(line);
      node->target = std::move(target);
      node->value = expressions_.parse_tuple();
      return node;
    }
    auto node = std::make_unique<SetBlock>(line);
    node->target = std::move(target);
    node->filter = expressions_.parse_filters(/*first_without_bar=*/false);
    node->body = parse_body("endset");
    return node;
  }

  void parse_signature(Macro& macro) {
    tokens_.expect_operator("(");
    while (!tokens_.at_operator(")")) {
      Parameter parameter;
      parameter.name = tokens_.expect(Kind::kName, "the name of a parameter").text;
      if (tokens_.take_operator("="))
        parameter.fallback = expressions_.parse_expression();
      else if (!macro.parameters.empty() && macro.parameters.back().fallback)
        tokens_.fail("a parameter without a default follows one that has it");
      macro.parameters.push_back(std::move(parameter));
      if (!tokens_.take_operator(",")) break;
    }
    tokens_.expect_operator(")");
  }
  // A loop around a macro is not one that the macro's body could leave.
  void parse_macro_body(Macro& macro, const char* end) {
    const int loops = std::exchange(loops_, 0);
    std::set<std::string> outer_names = std::exchange(expressions_.names, {});
    macro.body = parse_body(end);
    macro.uses_varargs = expressions_.names.contains("varargs");
    macro.uses_kwargs = expressions_.names.contains("kwargs");
    macro.uses_caller = expressions_.names.contains("caller");
    expressions_.names.merge(outer_names);
    loops_ = loops;
  }

  Statements parse_macro(int line) {
    auto node = std::make_unique<MacroDefinition>(line);
    node->macro.name = tokens_.expect(Kind::kName, "the name of a macro").text;
    parse_signature(node->macro);
    parse_macro_body(node->macro, "endmacro");
    return node;
  }

  Statements parse_call(int line) {
    auto node = std::make_unique<CallBlock>(line);
    node->caller.name = "caller";
    if (tokens_.at_operator("(")) parse_signature(node->caller);
    ExpressionPtr call = expressions_.parse_expression();
    if (dynamic_cast<Call*>(call.get()) == nullptr) throw SyntaxError{line, "expected a call"};
    node->call.reset(static_cast<Call*>(call.release()));
    parse_macro_body(node->caller, "endcall");
    return node;
  }

  Statements parse_filter(int line) {
    auto node = std::make_unique<FilterBlock>(line);
    node->filter = expressions_.parse_filters(/*first_without_bar=*/true);
    node->body = parse_body("endfilter");
    return node;
  }

  Statements parse_with(int line) {
    auto node = std::make_unique<Scope>(line);
    while (!tokens_.at(Kind::kBlockEnd)) {
      Target target = expressions_.parse_target(/*with_attributes=*/false);
      tokens_.expect_operator("=");
      node->assignments.emplace_back(std::move(target), expressions_.parse_expression());
      if (!tokens_.take_operator(",")) break;
    }
    node->body = parse_body("endwith");
    return node;
  }

  // Hugging Face's mark of what the assistant wrote; the text itself is not changed.
  Statements parse_generation(int line) {
    auto node = std::make_unique<Scope>(line);
    Macro body;
    parse_macro_body(body, "endgeneration");
    node->body = std::move(body.body);
    return node;
  }

  Statements parse_break(int line) { return make_jump(line, Flow::kBreak, "break"); }
  Statements parse_continue(int line) { return make_jump(line, Flow::kContinue, "continue"); }
  Statements make_jump(int line, Flow flow, const char* name) const {
    if (loops_ == 0) throw SyntaxError{line, concat("'", name, "' outside of a loop")};
    return std::make_unique<Jump>(line, flow);
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  int depth_ = 0;
  int loops_ = 0;  // around the present place
};

}  // namespace

Body parse_template(std::string_view source) { return Parser(source).parse(); }

}  // namespace bitsmith::jinja
