// A Jinja template as model files carry it, with the meaning that Hugging Face gives it: jinja2's
// ImmutableSandboxedEnvironment with trim_blocks and lstrip_blocks, break and continue, the filter
// tojson, raise_exception(), strftime_now() and the tag `generation`. No autoescape, no other
// templates.
#pragma once
#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include "tokenizer/jinja/budget.h"
#include "tokenizer/jinja/value.h"

namespace bitsmith::jinja {

struct Statement;

// Immutable; several threads may render at once.
class Template {
 public:
  // Throws Error naming `source_name` and the line.
  Template(std::string_view source, std::string source_name);
  ~Template();
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;

  // `now` is the time that strftime_now() tells. Throws Error naming the line for what the template
  // refuses, does wrong, or what is beyond the limits.
  Text render(const Dict& variables, const std::tm& now, const Limits& limits = {}) const;

 private:
  std::string source_name_;
  std::vector<std::unique_ptr<Statement>> body_;
};

}  // namespace bitsmith::jinja
