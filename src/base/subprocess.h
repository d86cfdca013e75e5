// Other programs: run to their end, or in this one's place.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace bitsmith {

// Runs arguments[0], a path, with these arguments and no shell; its standard output, whole. Its
// errors go to this process's. Throws Error where it cannot be started or ends with another exit
// code than 0.
std::string output_of(const std::vector<std::string>& arguments);

// The file of this name in the folder of the running program, behind all links; it need not exist.
// Empty where the system does not tell the folder.
std::filesystem::path beside_this_program(const std::string& name);

// This process becomes another program; the words of its command line begin with its name and end
// with a null pointer. Standard streams and environment stay. Throws Error where it cannot be
// started.
[[noreturn]] void become(const std::filesystem::path& program, char* const* words);

}  // namespace bitsmith
