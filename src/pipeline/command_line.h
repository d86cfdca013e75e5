// The command that made a result, for its recipe.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/options.h"

namespace bitsmith {

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
