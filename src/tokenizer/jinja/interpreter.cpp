#include "tokenizer/jinja/interpreter.h"

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/objects.h"

namespace bitsmith::jinja {

const Value* Frame::find(std::string_view name) const {
  for (const Frame* frame = this; frame; frame = frame->parent)
    for (const auto& [key, value] : frame->names)
      if (key == name) return &value;
  return nullptr;
}

void Frame::set(const std::string& name, Value value) {
  for (auto& [key, old] : names) {
    if (key != name) continue;
    old = std::move(value);
    return;
  }
  names.emplace_back(name, std::move(value));
}

Interpreter::Interpreter(const Dict& variables, const std::tm& now, const Limits& limits)
    : variables_(variables), now_(now), budget_(limits) {}

Interpreter::~Interpreter() = default;

Text Interpreter::run(const Body& body) {
  execute(body);
  return std::move(output_);
}

// The line of the caller comes back only where nothing was thrown.
Value Interpreter::evaluate(const Expression& expression) {
  budget_.spend(1);
  budget_.enter();
  const int outer = std::exchange(line_, expression.line);
  Value value = expression.evaluate(*this);
  line_ = outer;
  budget_.leave();
  return value;
}

Flow Interpreter::execute(const Body& body) {
  budget_.enter();
  Flow flow = Flow::kNext;
  for (const auto& statement : body) {
    budget_.spend(1);
    const int outer = std::exchange(line_, statement->line);
    flow = statement->execute(*this);
    line_ = outer;
    if (flow != Flow::kNext) break;
  }
  budget_.leave();
  return flow;
}

void Interpreter::write(const Text& text) {
  budget_.spend(1 + text.foreign_spans().size());
  budget_.check_size(out_->bytes().size() + text.bytes().size());
  out_->append(text);
}

Value Interpreter::lookup(const std::string& name) const {
  if (const Value* value = frame_->find(name)) return *value;
  if (const Value* value = variables_.find_text(name)) return *value;
  if (const Value* value = find_global(name)) return *value;
  return Value::undefined(concat("'", name, "' is undefined"));
}

void Interpreter::assign(const Target& target, const Value& value) {
  if (!target.is_tuple && target.attribute.empty()) return frame_->set(target.name, value);
  if (!target.is_tuple) {
    auto* space = dynamic_cast<Namespace*>(lookup(target.name).object());
    if (!space) throw Failure("cannot assign attribute on non-namespace object");
    return space->set(target.attribute, value);
  }
  const Values parts = items_of(value, budget_);
  if (parts.size() != target.parts.size())
    throw Failure(concat(parts.size() < target.parts.size() ? "not enough" : "too many",
                         " values to unpack (expected ", target.parts.size(), ", got ",
                         parts.size(), ")"));
  for (size_t i = 0; i < parts.size(); ++i) assign(target.parts[i], parts[i]);
}

Value Interpreter::call(const Value& callee, Arguments arguments) {
  require_defined(callee);
  if (!callee.object()) throw Failure(concat("'", callee.type_name(), "' object is not callable"));
  budget_.enter();
  Value value = callee.object()->call(*this, std::move(arguments));
  budget_.leave();
  return value;
}

Value Interpreter::apply_filter(const std::string& name, Value value, Arguments arguments) {
  const auto filter = filters().find(name);
  if (filter == filters().end()) throw Failure(concat("no filter is named '", name, "'"));
  arguments.positional.insert(arguments.positional.begin(), std::move(value));
  return call_builtin(*this, name, filter->second, std::move(arguments));
}

bool Interpreter::apply_test(const std::string& name, Value value, Arguments arguments) {
  const auto test = tests().find(name);
  if (test == tests().end()) throw Failure(concat("no test is named '", name, "'"));
  arguments.positional.insert(arguments.positional.begin(), std::move(value));
  return call_builtin(*this, name, test->second, std::move(arguments)).truth();
}

}  // namespace bitsmith::jinja
