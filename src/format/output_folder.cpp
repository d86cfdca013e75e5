#include "format/output_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "format/output_exists.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

void sync_file(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int reason = errno;
  if (fd >= 0) ::close(fd);
  if (!synced) throw Error(concat("cannot flush ", path.string(), ": ", std::strerror(reason)));
}

// Permissions do not tell all (read-only file systems, /proc): a file without a name tries.
std::error_code why_not_writable(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (fd >= 0) {
    ::close(fd);
    return {};
  }
  const bool unsupported = errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL;
  if (unsupported && ::access(folder.c_str(), W_OK | X_OK) == 0) return {};
  return {errno, std::generic_category()};
}

void rename_folder(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    throw Error(
        concat("cannot rename ", from.string(), " to ", to.string(), ": ", std::strerror(errno)));
  }
}

}  // namespace

fs::path output_path(const fs::path& out) {
  if (out.empty()) throw UsageError("an output is needed: -o OUT");
  fs::path path = fs::absolute(out).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  if (!path.has_filename())
    throw UsageError(concat(out.string(), " is not the name of a new folder"));
  return path;
}

void make_parent(const fs::path& out) {
  const fs::path path = output_path(out), parent = path.parent_path();
  std::error_code error;
  fs::create_directories(parent, error);
  if (!error) error = why_not_writable(parent);
  if (error) throw Error(concat("cannot make ", path.string(), ": ", error.message()));
}

void check_output(const fs::path& out, bool force) {
  make_parent(out);
  const fs::path path = output_path(out);
  if (!fs::exists(fs::symlink_status(path))) return;
  if (!force) {
    throw OutputExists(path.string() + " exists; give another name");
  }
  if (fs::is_symlink(path) || !fs::is_directory(path) ||
      !(fs::is_empty(path) || fs::exists(path / "bitsmith.json"))) {
    throw UsageError(concat(path.string(), " is not a directory that Bitsmith made (it has no ",
                            "bitsmith.json) and is never replaced; give another name"));
  }
}

void sync_tree(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) sync_file(entry.path());
    if (entry.is_directory()) sync_folder(entry.path());
  }
  sync_folder(folder);
}

void put_in_place(const fs::path& result, const fs::path& out, const fs::path& aside) {
  if (fs::exists(fs::symlink_status(out))) {
    const int exchanged =
        ::renameat2(AT_FDCWD, result.c_str(), AT_FDCWD, out.c_str(), RENAME_EXCHANGE);
    if (exchanged != 0) {
      rename_folder(out, aside);
      rename_folder(result, out);
    }
  } else {
    rename_folder(result, out);
  }
  sync_folder(result.parent_path());
  sync_folder(out.parent_path());
}

}  // namespace bitsmith
