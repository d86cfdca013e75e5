// The command that made a result, for its recipe.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/options.h"

namespace bitsmith {

// Words without an option and its value.
inline std::vector<std::string> without_option(std::vector<std::string> words,
                                               const std::string& name) {
  const auto found = std::find(words.begin(), words.end(), "--" + name);
  if (found != words.end()) words.erase(found, found + 2);
  return words;
}

// "bitsmith COMMAND ... OPTIONS -o OUT", with --seed where it is not 0. `command` and its places
// are words like MODEL: a recipe holds no paths.
inline std::string command_line(std::vector<std::string> command,
                                const std::vector<std::vector<std::string>>& options,
                                uint64_t seed) {
  command.insert(command.begin(), "bitsmith");
  for (const std::vector<std::string>& words : options)
    command.insert(command.end(), words.begin(), words.end());
  if (seed != 0) command.insert(command.end(), {"--seed", std::to_string(seed)});
  command.insert(command.end(), {"-o", "OUT"});
  return shell_line(command);
}

}  // namespace bitsmith
