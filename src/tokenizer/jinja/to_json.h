// Values as JSON, as Python's json.dumps writes it.
#pragma once
#include <optional>
#include <string>

#include "tokenizer/jinja/budget.h"
#include "tokenizer/jinja/value.h"

namespace bitsmith::jinja {

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<Text> indent;  // of one level; none: everything on one line
  Text item_separator{", "}, key_separator{": "};
};

// Throws Failure for what JSON has no form for.
Text to_json(const Value& value, const JsonStyle& style, Budget& budget);

}  // namespace bitsmith::jinja
