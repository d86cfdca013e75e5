// Python's two ways to format: "%d of %s" % (3, x) and "{} of {:>5}".format(3, x).
#pragma once
#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/value.h"

namespace bitsmith::jinja {

// `arguments`: a tuple, a dict for %(name)s, or the one value.
Text percent_format(const Text& pattern, const Value& arguments, Budget& budget);
// str.format().
Text brace_format(Interpreter& run, const Text& pattern, const Values& positional,
                  const Dict& named);

// How a field is filled and a number written.
struct FieldStyle {
  std::string fill = " ";
  char align = 0;          // < > ^ =, or 0: by the type of the value
  char sign = '-';         // -, + or space
  bool alternate = false;  // 0x1f
  char grouping = 0;       // , or _ between thousands
  int64_t width = 0;
  int64_t precision = -1;  // not given
  char type = 0;           // s d x X o b c e E f F g G %, or 0
};
// A number in the form of style.type, with its sign, without filling.
std::string formatted_number(const Value& value, const FieldStyle& style);
Text filled(const Text& text, const FieldStyle& style, Budget& budget);

}  // namespace bitsmith::jinja
