// Jinja source -> the statements of a template.
#pragma once
#include <string_view>

#include "tokenizer/jinja/ast.h"

namespace bitsmith::jinja {

// Throws SyntaxError.
Body parse_template(std::string_view source);

}  // namespace bitsmith::jinja
