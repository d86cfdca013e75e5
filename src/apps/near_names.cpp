#include "apps/near_names.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "base/edit_distance.h"
#include "base/error.h"

namespace bitsmith {
namespace {

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back(concat("--", name));
  }
  // Options in a group are the group's.
  for (const CLI::App* group : command.get_subcommands([](const CLI::App*) { return true; })) {
    if (!group->get_name().empty()) continue;
    for (std::string& name : option_names(*group)) names.push_back(std::move(name));
  }
  return names;
}

}  // namespace

std::string did_you_mean(std::string_view word, const std::vector<std::string>& known) {
  size_t nearest = std::max<size_t>(1, word.size() / 3) + 1;
  std::string names;
  for (const std::string& name : known) {
    const size_t distance =
        word.size() >= 3 && name.starts_with(word) ? 0 : edit_distance(word.substr(0, 64), name);
    if (distance > nearest || (distance == nearest && names.empty())) continue;
    if (distance < nearest) names.clear();
    names += concat(names.empty() ? "'" : " or '", name, "'");
    nearest = distance;
  }
  return names.empty() ? "" : concat("; did you mean ", names, "?");
}

std::string unknown_word(const CLI::App& app, int argc, const char* const* argv) {
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  const CLI::App* command = nullptr;
  if (argc > 1 && argv[1][0] != '-') {
    std::vector<std::string> names;
    for (const CLI::App* each : commands) {
      names.push_back(each->get_name());
      if (each->get_name() == argv[1]) command = each;
    }
    if (!command)
      return concat("unknown command '", excerpt(argv[1]), "'", did_you_mean(argv[1], names));
  }
  for (const std::string& word : app.remaining(true)) {
    if (word.size() < 2 || word[0] != '-') continue;
    const std::string name = word.substr(0, word.find('='));
    const auto names = option_names(command ? *command : app);
    if (std::find(names.begin(), names.end(), name) == names.end())
      return concat("unknown option '", excerpt(name), "'", did_you_mean(name, names));
  }
  return "";
}

}  // namespace bitsmith
