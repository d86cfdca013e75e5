#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/objects.h"
#include "tokenizer/jinja/print.h"

namespace bitsmith::jinja {
namespace {

// Filters in a row, the innermost first.
Value apply_filters(Interpreter& run, const Filter* filter, Value value) {
  if (!filter) return value;
  const auto* inner = static_cast<const Filter*>(filter->value.get());
  return filter->apply(run, apply_filters(run, inner, std::move(value)));
}

Text capture_in_scope(Interpreter& run, const Body& body) {
  return run.capture([&] { run.in_scope(run.frame(), [&] { return run.execute(body); }); });
}

}  // namespace

Flow Data::execute(Interpreter& run) const {
  run.write(text);
  return Flow::kNext;
}

Flow Output::execute(Interpreter& run) const {
  run.write(to_text(run.evaluate(*value), run.budget()));
  return Flow::kNext;
}

Flow If::execute(Interpreter& run) const {
  for (const auto& [condition, body] : branches)
    if (run.evaluate(*condition).truth()) return run.execute(body);
  return run.execute(otherwise);
}

Flow For::execute(Interpreter& run) const {
  return run_loop(run, *this, items_of(run.evaluate(*values), run.budget()), run.frame(), 0);
}

Flow Set::execute(Interpreter& run) const {
  run.assign(target, run.evaluate(*value));
  return Flow::kNext;
}

Flow SetBlock::execute(Interpreter& run) const {
  run.assign(target, apply_filters(run, filter.get(), capture_in_scope(run, body)));
  return Flow::kNext;
}

Flow FilterBlock::execute(Interpreter& run) const {
  const Value value = apply_filters(run, filter.get(), capture_in_scope(run, body));
  run.write(to_text(value, run.budget()));
  return Flow::kNext;
}

Flow MacroDefinition::execute(Interpreter& run) const {
  run.frame().set(macro.name, run.make<MacroObject>(macro, run.remembered_frame()));
  return Flow::kNext;
}

Flow CallBlock::execute(Interpreter& run) const {
  Arguments arguments = call->arguments.evaluate(run);
  arguments.named.emplace_back("caller", run.make<MacroObject>(caller, run.remembered_frame()));
  run.write(to_text(call->evaluate_with(run, std::move(arguments)), run.budget()));
  return Flow::kNext;
}

// The values are those of the scope outside.
Flow Scope::execute(Interpreter& run) const {
  Values values;
  for (const auto& [target, value] : assignments) values.push_back(run.evaluate(*value));
  return run.in_scope(run.frame(), [&] {
    for (size_t i = 0; i < assignments.size(); ++i) run.assign(assignments[i].first, values[i]);
    return run.execute(body);
  });
}

}  // namespace bitsmith::jinja
