#include <algorithm>

#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/lookup.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/print.h"

namespace bitsmith::jinja {

Value Name::evaluate(Interpreter& run) const { return run.lookup(name); }

Value SequenceLiteral::evaluate(Interpreter& run) const {
  Values values;
  for (const ExpressionPtr& item : items) values.push_back(run.evaluate(*item));
  return Value::sequence(kind, std::move(values));
}

Value DictLiteral::evaluate(Interpreter& run) const {
  Dict dict;
  for (const auto& [key, value] : entries) {
    Value name = run.evaluate(*key);
    dict.set(std::move(name), run.evaluate(*value));
  }
  return dict;
}

Value Attribute::evaluate(Interpreter& run) const {
  return attribute_of(run, run.evaluate(*object), name);
}

Value Item::evaluate(Interpreter& run) const {
  const Value container = run.evaluate(*object);
  return item_of(run, container, run.evaluate(*key));
}

Value Slice::evaluate(Interpreter& run) const {
  const auto bound = [&](const ExpressionPtr& part) {
    return part ? run.evaluate(*part) : Value();
  };
  const Value container = run.evaluate(*object);
  const Value first = bound(begin), last = bound(end);
  return slice_of(run, container, first, last, bound(step));
}

int ArgumentList::nesting() const {
  int deepest = 0;
  const auto look = [&](const ExpressionPtr& part) {
    if (part) deepest = std::max(deepest, part->nesting);
  };
  for (const ExpressionPtr& argument : positional) look(argument);
  for (const auto& [name, argument] : named) look(argument);
  look(more_positional);
  look(more_named);
  return deepest;
}

Arguments ArgumentList::evaluate(Interpreter& run) const {
  Arguments arguments;
  for (const ExpressionPtr& argument : positional)
    arguments.positional.push_back(run.evaluate(*argument));
  for (const auto& [name, argument] : named)
    arguments.named.emplace_back(name, run.evaluate(*argument));
  if (more_positional)
    for (Value& value : items_of(run.evaluate(*more_positional), run.budget()))
      arguments.positional.push_back(std::move(value));
  if (!more_named) return arguments;
  const Value more = run.evaluate(*more_named);
  if (!more.dict()) throw Failure("the argument after ** must be a mapping");
  for (const auto& [key, value] : more.dict()->entries())
    arguments.named.emplace_back(text_argument(key).bytes(), value);
  return arguments;
}

// A method is called without making an object of it.
Value Call::evaluate_with(Interpreter& run, Arguments given) const {
  const auto* attribute = dynamic_cast<const Attribute*>(callee.get());
  if (!attribute) return run.call(run.evaluate(*callee), std::move(given));
  Value object = run.evaluate(*attribute->object);
  const Builtin* method = find_method(object, attribute->name);
  if (!method) return run.call(attribute_of(run, object, attribute->name), std::move(given));
  return call_method(run, attribute->name, *method, std::move(object), std::move(given));
}

Value Call::evaluate(Interpreter& run) const { return evaluate_with(run, arguments.evaluate(run)); }

Value Filter::evaluate(Interpreter& run) const { return apply(run, run.evaluate(*value)); }

Value Filter::apply(Interpreter& run, Value input) const {
  return run.apply_filter(name, std::move(input), arguments.evaluate(run));
}

Value Test::evaluate(Interpreter& run) const {
  Value input = run.evaluate(*value);
  return run.apply_test(name, std::move(input), arguments.evaluate(run));
}

Value Unary::evaluate(Interpreter& run) const {
  const Value operand = run.evaluate(*value);
  if (sign == '!') return !operand.truth();
  return signed_value(sign, operand);
}

Value Binary::evaluate(Interpreter& run) const {
  const Value a = run.evaluate(*left);
  return binary_operation(sign, a, run.evaluate(*right), run.budget());
}

Value Logical::evaluate(Interpreter& run) const {
  Value value = run.evaluate(*left);
  return value.truth() == is_or ? value : run.evaluate(*right);
}

Value Comparison::evaluate(Interpreter& run) const {
  Value a = run.evaluate(*first);
  for (const auto& [sign, other] : others) {
    Value b = run.evaluate(*other);
    if (!compare(sign, a, b, run.budget())) return false;
    a = std::move(b);
  }
  return true;
}

Value Concatenation::evaluate(Interpreter& run) const {
  Text text;
  for (const ExpressionPtr& part : parts) {
    const Text next = to_text(run.evaluate(*part), run.budget());
    run.budget().spend_bytes(next.bytes().size());
    run.budget().check_size(text.bytes().size() + next.bytes().size());
    text.append(next);
  }
  return text;
}

Value Conditional::evaluate(Interpreter& run) const {
  if (run.evaluate(*condition).truth()) return run.evaluate(*then);
  if (otherwise) return run.evaluate(*otherwise);
  return Value::undefined("the inline if-expression evaluated to false and no else is there");
}

}  // namespace bitsmith::jinja
