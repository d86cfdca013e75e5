// Escapes inside the quotation marks of a template's string.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace bitsmith::jinja {

// As Python reads them: \n, \x41, \u00e9, \101, a backslash at the end of a line; an escape that
// has no meaning stays. nullopt: one is cut short.
std::optional<std::string> unescaped(std::string_view literal);

}  // namespace bitsmith::jinja
