#include "tokenizer/jinja/objects.h"

#include <algorithm>
#include <map>

namespace bitsmith::jinja {

std::optional<Value> Namespace::attribute(Interpreter&, std::string_view name) {
  const Value* value = values_.find_text(name);
  return value ? std::optional(*value) : std::nullopt;
}

std::optional<Value> MacroObject::attribute(Interpreter&, std::string_view name) {
  if (name == "name") return Value(macro_.name);
  return std::nullopt;
}

Value MacroObject::call(Interpreter& run, Arguments arguments) {
  return run.capture([&] {
    run.in_scope(scope_, [&] {
      bind_parameters(run, arguments);
      bind_others(run.frame(), arguments);
      return run.execute(macro_.body);
    });
  });
}

void MacroObject::bind_parameters(Interpreter& run, Arguments& arguments) const {
  size_t used = 0;
  for (const Parameter& parameter : macro_.parameters) {
    const auto named = std::ranges::find(arguments.named, parameter.name,
                                         [](const auto& entry) { return entry.first; });
    Value value;
    if (used < arguments.positional.size()) {
      value = std::move(arguments.positional[used++]);
    } else if (named != arguments.named.end()) {
      value = std::move(named->second);
      arguments.named.erase(named);
    } else if (parameter.fallback) {
      value = run.evaluate(*parameter.fallback);
    } else {
      value = Value::undefined(concat("parameter '", parameter.name, "' was not provided"));
    }
    run.frame().set(parameter.name, std::move(value));
  }
  arguments.positional.erase(arguments.positional.begin(),
                             arguments.positional.begin() + static_cast<std::ptrdiff_t>(used));
}

void MacroObject::bind_others(Frame& frame, Arguments& arguments) const {
  Value caller = Value::undefined("No caller defined");
  Dict named;
  for (auto& [name, value] : arguments.named) {
    if (name == "caller" && macro_.uses_caller)
      caller = value;
    else if (macro_.uses_kwargs)
      named.set(Text(name), std::move(value));
    else
      throw Failure(concat("macro '", macro_.name, "' takes no keyword argument '", name, "'"));
  }
  if (!arguments.positional.empty() && !macro_.uses_varargs)
    throw Failure(concat("macro '", macro_.name, "' takes not more than ", macro_.parameters.size(),
                         " argument(s)"));
  if (macro_.uses_caller) frame.set("caller", std::move(caller));
  if (macro_.uses_kwargs) frame.set("kwargs", std::move(named));
  if (macro_.uses_varargs) frame.set("varargs", Value::tuple(std::move(arguments.positional)));
}

Loop::Loop(Interpreter& run, const For& node, Values values, const Frame& scope, int64_t level)
    : run_(run), node_(node), values_(std::move(values)), scope_(&scope), level_(level) {}

bool Loop::meets_condition(const Value& value) {
  if (!node_.condition) return true;
  return run_.in_scope(*scope_, [&] {
    run_.assign(node_.target, value);
    return run_.evaluate(*node_.condition).truth();
  });
}

bool Loop::look_ahead(size_t count) {
  while (ahead_.size() < count && looked_at_ < values_.size()) {
    const Value& value = values_[looked_at_++];
    if (meets_condition(value)) ahead_.push_back(value);
  }
  return ahead_.size() >= count;
}

bool Loop::advance() {
  if (!look_ahead(1)) return false;
  previous_ = std::exchange(current_, std::move(ahead_.front()));
  ahead_.pop_front();
  ++index_;
  return true;
}

void Loop::end() {
  values_.clear();
  looked_at_ = 0;
  scope_ = nullptr;
}

int64_t Loop::length() {
  look_ahead(values_.size() + 1);
  return index_ + 1 + static_cast<int64_t>(ahead_.size());
}

bool Loop::changed(Values values) {
  for (const Value& value : values) run_.budget().spend(value.size());
  const bool same =
      last_changed_ && std::equal(values.begin(), values.end(), last_changed_->begin(),
                                  last_changed_->end(), equals);
  last_changed_ = std::move(values);
  return !same;
}

std::optional<Value> Loop::attribute(Interpreter& run, std::string_view name) {
  using Getter = Value (*)(Loop&, Interpreter&);
  static const std::map<std::string_view, Getter> kAttributes = {
      {"index", [](Loop& loop, Interpreter&) -> Value { return loop.index_ + 1; }},
      {"index0", [](Loop& loop, Interpreter&) -> Value { return loop.index_; }},
      {"revindex", [](Loop& loop, Interpreter&) -> Value { return loop.length() - loop.index_; }},
      {"revindex0",
       [](Loop& loop, Interpreter&) -> Value { return loop.length() - loop.index_ - 1; }},
      {"first", [](Loop& loop, Interpreter&) -> Value { return loop.index_ == 0; }},
      {"last", [](Loop& loop, Interpreter&) -> Value { return !loop.look_ahead(1); }},
      {"length", [](Loop& loop, Interpreter&) -> Value { return loop.length(); }},
      {"depth", [](Loop& loop, Interpreter&) -> Value { return loop.level_ + 1; }},
      {"depth0", [](Loop& loop, Interpreter&) -> Value { return loop.level_; }},
      {"previtem",
       [](Loop& loop, Interpreter&) {
         return loop.previous_ ? *loop.previous_ : Value::undefined("there is no previous item");
       }},
      {"nextitem",
       [](Loop& loop, Interpreter&) {
         return loop.look_ahead(1) ? loop.ahead_.front()
                                   : Value::undefined("there is no next item");
       }},
      {"cycle",
       [](Loop& loop, Interpreter& run) -> Value {
         return run.make<Function>("cycle", [&loop](Interpreter&, Arguments arguments) {
           const Values& values = arguments.positional;
           if (values.empty()) throw Failure("no items for cycling given");
           return values[static_cast<size_t>(loop.index_) % values.size()];
         });
       }},
      {"changed",
       [](Loop& loop, Interpreter& run) -> Value {
         return run.make<Function>("changed", [&loop](Interpreter&, Arguments arguments) -> Value {
           return loop.changed(std::move(arguments.positional));
         });
       }},
  };
  const auto found = kAttributes.find(name);
  return found == kAttributes.end() ? std::nullopt : std::optional(found->second(*this, run));
}

Value Loop::call(Interpreter& run, Arguments arguments) {
  if (!node_.recursive) throw Failure("the loop must be marked 'recursive' to be called");
  if (!scope_) throw Failure("the loop has ended");
  if (arguments.positional.size() != 1 || !arguments.named.empty())
    throw Failure("loop() takes one argument");
  return run.capture([&] {
    run_loop(run, node_, items_of(arguments.positional[0], run.budget()), *scope_, level_ + 1);
  });
}

Flow run_loop(Interpreter& run, const For& node, Values values, const Frame& scope, int64_t level) {
  Loop* loop = run.make<Loop>(run, node, std::move(values), scope, level);
  bool whole = false;  // whether a body was run to its end; `else` is for where none was
  while (loop->advance()) {
    const Flow flow = run.in_scope(scope, [&] {
      run.frame().set("loop", loop);
      run.assign(node.target, loop->current());
      return run.execute(node.body);
    });
    if (flow == Flow::kBreak) break;
    whole = whole || flow == Flow::kNext;
  }
  loop->end();
  if (whole) return Flow::kNext;
  return run.in_scope(scope, [&] { return run.execute(node.otherwise); });
}

}  // namespace bitsmith::jinja
