// The command line of an options struct (base/options.h): its declared options, added to a command.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <type_traits>
#include <vector>

#include "base/options.h"

namespace bitsmith {

// The visitor of add_options().
class OptionAdder {
 public:
  explicit OptionAdder(CLI::App& command) : command_(command) {}

  template <typename T>
  void operator()(const Option& option, T& value) {
    if (option.help.empty()) return;
    CLI::Option& added = *add(option_name(option), option.help, value);
    if (option.range) {
      if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
        added.check(CLI::Range(static_cast<int64_t>(option.range->least),
                               static_cast<int64_t>(option.range->most)));
      } else {
        added.check(CLI::Range(option.range->least, option.range->most));
      }
    }
    if (!option.choices.empty()) added.check(CLI::IsMember(option.choices));
    if (option.required) added.required();
    if constexpr (TextOption<T>) {
      if (option.shows_default) added.default_str(option_text(value));
    } else if constexpr (!std::is_same_v<T, bool>) {
      if (option.shows_default && !is_list(value)) added.capture_default_str();
    }
  }
  template <typename T>
  void constant(const T&) {}
  template <typename T>
  void derived(const char*, const T&) {}

 private:
  template <typename T>
  static constexpr bool is_list(const T&) {
    return false;
  }
  template <typename T>
  static constexpr bool is_list(const std::vector<T>&) {
    return true;
  }

  // A bool that is on by default has the flag that turns it off.
  CLI::Option* add(const std::string& name, const std::string& help, bool& value) {
    return command_.add_flag((value ? "!--no-" : "--") + name, value, help);
  }
  template <typename T>
  CLI::Option* add(const std::string& name, const std::string& help, T& value) {
    if constexpr (TextOption<T>) {
      return command_.add_option_function<std::string>(
          "--" + name, [&value](const std::string& text) { parse_option(text, value); }, help);
    } else {
      return command_.add_option("--" + name, value, help);
    }
  }
  template <TextOption T>
  CLI::Option* add(const std::string& name, const std::string& help, std::vector<T>& values) {
    return command_.add_option_function<std::vector<std::string>>(
        "--" + name,
        [&values](const std::vector<std::string>& texts) {
          values.assign(texts.size(), T());
          for (size_t i = 0; i < texts.size(); ++i) parse_option(texts[i], values[i]);
        },
        help);
  }

  CLI::App& command_;
};

// Adds every declared option that has a help text. `options` is filled by the parse and outlives
// it; defaults in the help are the values that it has now.
template <typename Options>
void add_options(CLI::App& command, Options& options) {
  OptionAdder adder(command);
  Options::visit(options, adder);
}

}  // namespace bitsmith
