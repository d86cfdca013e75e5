// Options of a command, each declared once. A struct of options has a static member
//   template <typename Self, typename Visitor> static void visit(Self& o, Visitor& visitor);
// that hands over every member: visitor(Option{...}, o.member), or visitor.constant(o.member) for
// what no user sets; visitor.derived(key, value) adds what follows from members to the recipe.
// options_json() below makes the recipe of it, option_words() a command line that says the same,
// apps/cli_options.h the options of a command. A member is a number, bool, string, or a type with
// two functions beside it:
//   std::string option_text(const T& value);                  // as people write it
//   void parse_option(const std::string& text, T& value);     // UsageError names the choices
// or a vector of these, for an option that may repeat.
#pragma once
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace bitsmith {

struct OptionRange {
  double least, most;  // both allowed
};
// For counts.
inline constexpr OptionRange at_least(int64_t least) {
  return {static_cast<double>(least), static_cast<double>(int64_t{1} << 40)};
}

struct Option {
  // Whether the recipe holds it, and with it the hash that names unfinished work. kIfChanged: where
  // it is not the default, so that recipes from before the option was there stay equal. kDerived:
  // a derived entry tells its effect. kNever: the result does not depend on it.
  enum class Recorded { kAlways, kIfChanged, kDerived, kNever };

  const char* key;             // in the recipe; the command line has - for _
  std::string help = {};       // of the command line; empty: it is not there
  const char* name = nullptr;  // on the command line, where it is not the key
  std::optional<OptionRange> range = {};
  std::vector<std::string> choices = {};
  Recorded recorded = Recorded::kAlways;
  bool required = false;
  bool shows_default = true;  // in the help; off where the default is a rule, which the help tells
};

// As it is written on the command line, without the dashes.
std::string option_name(const Option& option);

// Types that are written as text.
template <typename T>
concept TextOption = requires(const T& value, const std::string& text, T& target) {
  { option_text(value) } -> std::convertible_to<std::string>;
  parse_option(text, target);
};

template <typename T>
OrderedJson option_json(const T& value) {
  if constexpr (TextOption<T>) {
    return OrderedJson(std::string(option_text(value)));
  } else {
    return OrderedJson(value);
  }
}
template <TextOption T>
OrderedJson option_json(const std::vector<T>& values) {
  OrderedJson list = OrderedJson::array();
  for (const T& value : values) list.push_back(std::string(option_text(value)));
  return list;
}

// The visitor of options_json().
class RecipeEntries {
 public:
  struct Entry {
    std::string key;
    OrderedJson value;
    bool if_changed;
  };
  template <typename T>
  void operator()(const Option& option, const T& value) {
    if (option.recorded == Option::Recorded::kDerived ||
        option.recorded == Option::Recorded::kNever)
      return;
    entries_.push_back(
        {option.key, option_json(value), option.recorded == Option::Recorded::kIfChanged});
  }
  template <typename T>
  void constant(const T&) {}
  template <typename T>
  void derived(const char* key, const T& value) {
    entries_.push_back({key, option_json(value), false});
  }
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

// The recorded options in the order of their declaration.
template <typename Options>
OrderedJson options_json(const Options& options) {
  const Options defaults;
  RecipeEntries given, plain;
  Options::visit(options, given);
  Options::visit(defaults, plain);
  OrderedJson json = OrderedJson::object();
  for (size_t i = 0; i < given.entries().size(); ++i) {
    const auto& entry = given.entries()[i];
    if (!entry.if_changed || entry.value != plain.entries()[i].value) json[entry.key] = entry.value;
  }
  return json;
}

// The visitor of option_words().
class CommandWords {
 public:
  struct Entry {
    std::vector<std::string> words;
    bool required;
  };
  template <typename T>
  void operator()(const Option& option, const T& value) {
    Entry& entry = entries_.emplace_back(Entry{{}, option.required});
    if (option.help.empty() || option.recorded == Option::Recorded::kNever) return;
    add(option_name(option), option_json(value), entry.words);
  }
  template <typename T>
  void constant(const T&) {}
  template <typename T>
  void derived(const char*, const T&) {}
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  static void add(const std::string& name, const OrderedJson& value,
                  std::vector<std::string>& words);

  std::vector<Entry> entries_;
};

// The options of a command line that gives these options: those that are not the default. Only what
// the result depends on.
template <typename Options>
std::vector<std::string> option_words(const Options& options) {
  const Options defaults;
  CommandWords given, plain;
  Options::visit(options, given);
  Options::visit(defaults, plain);
  std::vector<std::string> words;
  for (size_t i = 0; i < given.entries().size(); ++i) {
    const auto& entry = given.entries()[i];
    if (entry.required || entry.words != plain.entries()[i].words)
      words.insert(words.end(), entry.words.begin(), entry.words.end());
  }
  return words;
}

// Words as a shell reads them: quoted where they hold more than letters, digits and harmless signs.
std::string shell_line(const std::vector<std::string>& words);

}  // namespace bitsmith
