// Runs a template: names and their scopes, output, limits, and what nodes ask for.
#pragma once
#include <ctime>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/budget.h"
#include "tokenizer/jinja/value.h"

namespace bitsmith::jinja {

// The names of one scope.
struct Frame {
  const Frame* parent = nullptr;
  std::vector<std::pair<std::string, Value>> names;

  const Value* find(std::string_view name) const;  // here or in a parent
  void set(const std::string& name, Value value);
};

// For one rendering, in one thread. Its functions throw Failure, after which only line() is good.
class Interpreter {
 public:
  // `now` is what strftime_now() tells. `variables` outlive it.
  Interpreter(const Dict& variables, const std::tm& now, const Limits& limits);
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;
  ~Interpreter();

  Text run(const Body& body);
  // Where it is, or where it failed.
  int line() const { return line_; }
  Budget& budget() { return budget_; }
  const std::tm& now() const { return now_; }

  Value evaluate(const Expression& expression);
  Flow execute(const Body& body);
  void write(const Text& text);
  // What a function writes.
  template <typename Action>
  Text capture(Action&& action) {
    Text text;
    Text* outer = std::exchange(out_, &text);
    action();
    out_ = outer;
    return text;
  }

  Value lookup(const std::string& name) const;
  void assign(const Target& target, const Value& value);
  Frame& frame() { return *frame_; }
  // The same for an object that will look names up in it: it stays as long as the interpreter.
  const Frame& remembered_frame() {
    ++remembered_;
    return *frame_;
  }
  // Does something in a new scope inside `parent`, which ends with it unless it is remembered.
  template <typename Action>
  auto in_scope(const Frame& parent, Action&& action) {
    budget_.spend(2);
    const size_t remembered = remembered_;
    Frame* outer = std::exchange(frame_, &frames_.emplace_back(Frame{&parent, {}}));
    auto result = action();
    frame_ = outer;
    if (remembered_ == remembered) frames_.pop_back();
    return result;
  }

  Value call(const Value& callee, Arguments arguments);
  Value apply_filter(const std::string& name, Value value, Arguments arguments);
  bool apply_test(const std::string& name, Value value, Arguments arguments);

  // An object that lives as long as the interpreter.
  template <typename T, typename... Args>
  T* make(Args&&... args) {
    budget_.spend(10);
    auto object = std::make_unique<T>(std::forward<Args>(args)...);
    T* pointer = object.get();
    objects_.push_back(std::move(object));
    return pointer;
  }

 private:
  const Dict& variables_;
  std::tm now_;
  Budget budget_;
  Frame root_;
  Frame* frame_ = &root_;
  std::deque<Frame> frames_;  // the scopes that are open, and those that are remembered
  size_t remembered_ = 0;     // how often
  std::vector<std::unique_ptr<Object>> objects_;
  Text output_;
  Text* out_ = &output_;
  int line_ = 1;
};

}  // namespace bitsmith::jinja
