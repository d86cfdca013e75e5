// Rendering for tests: what jinja2 3.1.6 makes of the same template and variables stands beside it.
#pragma once
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "tokenizer/jinja/strftime.h"
#include "tokenizer/jinja/template.h"

namespace bitsmith::jinja {

inline constexpr const char* kTestVariables = R"({
  "name": "Ada", "n": 7, "pi": 3.14159, "yes": true, "no": false, "nothing": null,
  "words": ["b", "A", "c", "a"], "numbers": [3, 1, 2],
  "people": [{"name": "Ida", "age": 30, "tags": ["x"]}, {"name": "bob", "age": 7, "tags": []},
             {"name": "Cy", "age": 30}],
  "tree": [{"v": 1, "kids": [{"v": 2, "kids": []}, {"v": 3, "kids": [{"v": 4, "kids": []}]}]},
           {"v": 5, "kids": []}],
  "map": {"b": 1, "a": [true, null, 2.5], "C": "x\"<y>"},
  "text": "  One two\n\nthree  ", "uni": "ÄÖ 中 ß"})";

// A Friday: 26 July 2024, 9:05:03.
inline std::tm test_time() {
  std::tm time = midnight(2024, 7, 26);
  time.tm_hour = 9;
  time.tm_min = 5;
  time.tm_sec = 3;
  return time;
}

// The strings of the variables are foreign text.
inline Text render_text(const std::string& source, const std::string& variables = kTestVariables,
                        const Limits& limits = {}) {
  const OrderedJson json = parse_ordered_json(variables, "variables");
  Dict dict;
  for (const auto& [name, value] : json.items()) dict.set(Text(name), Value::foreign(value));
  return Template(source, "test").render(dict, test_time(), limits);
}

inline void expect_rendered(const std::vector<std::pair<const char*, const char*>>& cases) {
  for (const auto& [source, expected] : cases) {
    try {
      EXPECT_EQ(render_text(source).bytes(), expected) << source;
    } catch (const Error& error) {
      ADD_FAILURE() << source << ": " << error.what();
    }
  }
}

// The message with which a template fails; "" where it does not.
inline std::string failure_of(const std::string& source, const Limits& limits = {}) {
  try {
    render_text(source, kTestVariables, limits);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace bitsmith::jinja
