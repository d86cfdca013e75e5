#include "tokenizer/jinja/template.h"

#include "base/error.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/lexer.h"
#include "tokenizer/jinja/parser.h"
#include "tokenizer/utf8.h"

namespace bitsmith::jinja {

Template::Template(std::string_view source, std::string source_name)
    : source_name_(std::move(source_name)) {
  try {
    body_ = parse_template(repair_utf8(source));
  } catch (const SyntaxError& error) {
    throw Error(concat(source_name_, ", line ", error.line, ": ", excerpt(error.message, 300)));
  }
}

Template::~Template() = default;
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;

Text Template::render(const Dict& variables, const std::tm& now, const Limits& limits) const {
  Interpreter interpreter(variables, now, limits);
  try {
    return interpreter.run(body_);
  } catch (const Refusal& refusal) {
    throw Error(concat(source_name_, " refuses this conversation (line ", interpreter.line(),
                       "): ", excerpt(refusal.what(), 1000)));
  } catch (const Failure& failure) {
    throw Error(
        concat(source_name_, ", line ", interpreter.line(), ": ", excerpt(failure.what(), 300)));
  }
}

}  // namespace bitsmith::jinja
