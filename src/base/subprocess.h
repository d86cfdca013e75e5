// Another program, run to its end.
#pragma once
#include <string>
#include <vector>

namespace bitsmith {

// Runs arguments[0], a path, with these arguments and no shell; its standard output, whole. Its
// errors go to this process's. Throws Error where it cannot be started or ends with another exit
// code than 0.
std::string output_of(const std::vector<std::string>& arguments);

}  // namespace bitsmith
