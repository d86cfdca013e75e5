// Where results appear: never over something that is there, never half.
#pragma once
#include <filesystem>

namespace bitsmith {

// Before any work. Throws UsageError when `out` exists and `force` is false, or when it exists and
// is not a directory that Bitsmith made (has no bitsmith.json); Error when its folder cannot be
// written. Creates the parent folder, nothing else.
void check_output(const std::filesystem::path& out, bool force);

// OUT appears at the end, whole: fsyncs `work` and renames it to `out`. An existing OUT (see
// check_output) is moved aside to OUT.old-PID first and deleted last.
void publish_folder(const std::filesystem::path& work, const std::filesystem::path& out,
                    bool force);

}  // namespace bitsmith
