// The objects of a template: namespaces, macros, loops, functions.
#pragma once
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "tokenizer/jinja/interpreter.h"

namespace bitsmith::jinja {

// namespace(...): the one thing whose parts can be assigned to from any scope.
class Namespace : public Object {
 public:
  explicit Namespace(Dict values) : values_(std::move(values)) {}
  const char* type_name() const override { return "Namespace"; }
  std::optional<Value> attribute(Interpreter&, std::string_view name) override;
  void set(const std::string& name, const Value& value) { values_.set(Text(name), value); }

 private:
  Dict values_;
};

// A function with what it remembers: a global, a method of a value or of an object.
class Function : public Object {
 public:
  using Body = std::function<Value(Interpreter&, Arguments)>;
  Function(std::string name, Body body) : name_(std::move(name)), body_(std::move(body)) {}
  const std::string& name() const { return name_; }
  const char* type_name() const override { return "function"; }
  std::string print() const override { return concat("<function ", name_, ">"); }
  bool callable() const override { return true; }
  Value call(Interpreter& run, Arguments arguments) override {
    return body_(run, std::move(arguments));
  }

 private:
  std::string name_;
  Body body_;
};

// A macro, or the body of a call block, with the scope in which it was defined.
class MacroObject : public Object {
 public:
  MacroObject(const Macro& macro, const Frame& scope) : macro_(macro), scope_(scope) {}
  const char* type_name() const override { return "Macro"; }
  std::string print() const override { return concat("<Macro '", macro_.name, "'>"); }
  std::optional<Value> attribute(Interpreter&, std::string_view name) override;
  bool callable() const override { return true; }
  Value call(Interpreter& run, Arguments arguments) override;

 private:
  void bind_parameters(Interpreter& run, Arguments& arguments) const;
  void bind_others(Frame& frame, Arguments& arguments) const;
  const Macro& macro_;
  const Frame& scope_;
};

// `loop` inside a for statement, and the loop itself. Values are looked at only when their turn
// comes, or when `loop` is asked about what follows: the condition may depend on the body.
class Loop : public Object {
 public:
  // level: of recursion, 0 for the outermost.
  Loop(Interpreter& run, const For& node, Values values, const Frame& scope, int64_t level);
  const char* type_name() const override { return "LoopContext"; }
  std::optional<Value> attribute(Interpreter& run, std::string_view name) override;
  bool callable() const override { return node_.recursive; }
  Value call(Interpreter& run, Arguments arguments) override;
  // Goes to the next value.
  bool advance();
  // The template may keep `loop`, but the scope around the statement ends.
  void end();
  const Value& current() const { return *current_; }

 private:
  // Whether `count` values that meet the condition are still to come.
  bool look_ahead(size_t count);
  bool meets_condition(const Value& value);
  int64_t length();
  bool changed(Values values);

  Interpreter& run_;
  const For& node_;
  Values values_;
  const Frame* scope_;  // null after the end
  int64_t level_;
  size_t looked_at_ = 0;
  std::deque<Value> ahead_;
  std::optional<Value> previous_, current_;
  int64_t index_ = -1;  // from 0
  std::optional<Values> last_changed_;
};

// Runs a for statement over values. A jump is one out of the loop around it.
Flow run_loop(Interpreter& run, const For& node, Values values, const Frame& scope, int64_t level);

}  // namespace bitsmith::jinja
