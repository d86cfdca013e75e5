// The place of a result: never over something that is there, never half.
#pragma once
#include <filesystem>

namespace bitsmith {

// Absolute, without "." and "..", without a trailing slash: "out", "out/" and "./out" are one
// place. Throws UsageError for an empty path, and for one that names no folder of its own ("/").
std::filesystem::path output_path(const std::filesystem::path& out);

// Before any work. Makes the folder that a result is to be in. Throws Error when it cannot be
// written.
void make_parent(const std::filesystem::path& out);

// Before any work. Throws UsageError when `out` exists and `force` is false, or when it exists and
// is not a directory that Bitsmith made (has no bitsmith.json); Error when its folder cannot be
// written. Creates the parent folder, nothing else.
void check_output(const std::filesystem::path& out, bool force);

// fsyncs every file and folder below `folder`.
void sync_tree(const std::filesystem::path& folder);

// `result` takes the name `out`. What was at `out` is at `result` afterwards: one exchange, so that
// there is no moment without an `out`. Where the file system cannot exchange, `out` is first moved
// to `aside`.
void put_in_place(const std::filesystem::path& result, const std::filesystem::path& out,
                  const std::filesystem::path& aside);

}  // namespace bitsmith
