// Functions that a template finds by their names.
#include <algorithm>

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/objects.h"
#include "tokenizer/jinja/print.h"
#include "tokenizer/jinja/strftime.h"

namespace bitsmith::jinja {
namespace {

Value range(Interpreter& run, Values& a) {
  const bool one = a[1].is_none();
  const int64_t begin = one ? 0 : integer_argument(a[0]);
  const int64_t end = integer_argument(one ? a[0] : a[1]);
  const int64_t step = integer_argument(a[2]);
  if (step == 0) throw Failure("range() arg 3 must not be zero");
  constexpr int64_t kMost = 100'000;  // as Jinja's sandbox has it
  Values values;
  for (int64_t at = begin; step > 0 ? at < end : at > end;) {
    if (values.size() == kMost)
      throw Failure(concat("Range too big. The sandbox blocks ranges larger than ", kMost, "."));
    values.emplace_back(at);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  run.budget().spend(values.size());
  return Value::sequence(Sequence::Kind::kRange, std::move(values));
}

// dict(pairs, name=value).
Dict make_dict(Interpreter& run, const Values& positional, const Dict& named) {
  Dict dict;
  if (positional.size() > 1) throw Failure("dict() takes at most one argument without a name");
  for (const Value& source : positional) {
    if (source.dict()) {
      for (const auto& [key, value] : source.dict()->entries()) dict.set(key, value);
      continue;
    }
    for (const Value& pair : items_of(source, run.budget())) {
      const Values two = items_of(pair, run.budget());
      if (two.size() != 2) throw Failure("dict() takes pairs of a key and a value");
      dict.set(two[0], two[1]);
    }
  }
  for (const auto& [key, value] : named.entries()) dict.set(key, value);
  return dict;
}
Value dict(Interpreter& run, Values& a) {
  return make_dict(run, a[0].sequence()->items, *a[1].dict());
}
Value make_namespace(Interpreter& run, Values& a) {
  return run.make<Namespace>(make_dict(run, a[0].sequence()->items, *a[1].dict()));
}

class Cycler : public Object {
 public:
  explicit Cycler(Values values) : values_(std::move(values)) {}
  const char* type_name() const override { return "Cycler"; }
  std::optional<Value> attribute(Interpreter& run, std::string_view name) override {
    if (name == "current") return values_[at_];
    if (name == "next")
      return run.make<Function>("next", [this](Interpreter&, Arguments) {
        const Value value = values_[at_];
        at_ = (at_ + 1) % values_.size();
        return value;
      });
    if (name == "reset")
      return run.make<Function>("reset", [this](Interpreter&, Arguments) {
        at_ = 0;
        return Value();
      });
    return std::nullopt;
  }

 private:
  Values values_;
  size_t at_ = 0;
};
Value cycler(Interpreter& run, Values& a) {
  const Values& values = a[0].sequence()->items;
  if (values.empty()) throw Failure("at least one item has to be provided");
  return run.make<Cycler>(values);
}

Value joiner(Interpreter& run, Values& a) {
  return run.make<Function>("joiner",
                            [separator = a[0], used = false](Interpreter&, Arguments) mutable {
                              return std::exchange(used, true) ? separator : Value("");
                            });
}

Value raise_exception(Interpreter& run, Values& a) {
  throw Refusal(to_text(a[0], run.budget()).bytes());
}

Value strftime_now(Interpreter& run, Values& a) {
  return Text(format_time(text_argument(a[0]).bytes(), run.now()));
}

// A global as a value; it needs no interpreter to belong to.
Function global(const char* name, Builtin builtin) {
  return Function(name,
                  [name, builtin = std::move(builtin)](Interpreter& run, Arguments arguments) {
                    return call_builtin(run, name, builtin, std::move(arguments));
                  });
}

}  // namespace

const Value* find_global(std::string_view name) {
  static Function functions[] = {
      global("range", {{{"start"}, {"stop", Value()}, {"step", Value(1)}}, range}),
      global("dict", {{{"*"}, {"**"}}, dict}),
      global("namespace", {{{"*"}, {"**"}}, make_namespace}),
      global("cycler", {{{"*"}}, cycler}),
      global("joiner", {{{"sep", Value(", ")}}, joiner}),
      global("raise_exception", {{{"message"}}, raise_exception}),
      global("strftime_now", {{{"format"}}, strftime_now}),
  };
  static const std::map<std::string_view, Value> values = [] {
    std::map<std::string_view, Value> result;
    for (Function& function : functions) result.emplace(function.name(), &function);
    return result;
  }();
  const auto found = values.find(name);
  return found == values.end() ? nullptr : &found->second;
}

}  // namespace bitsmith::jinja
