// Where results appear: never over something that is there, never half.
#pragma once
#include <filesystem>

namespace bitsmith {

// Before any work: throws UsageError when `out` exists and `force` is false, Error when its folder
// cannot be written. Creates the parent folder, nothing else.
void check_output(const std::filesystem::path& out, bool force);

}  // namespace bitsmith
