#include "format/output_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/files.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

// "out" for "out/".
fs::path without_slash(const fs::path& path) {
  const fs::path normal = path.lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

void sync_file(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int reason = errno;
  if (fd >= 0) ::close(fd);
  if (!synced) throw Error(concat("cannot flush ", path.string(), ": ", std::strerror(reason)));
}

void rename_folder(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) {
    throw Error(
        concat("cannot rename ", from.string(), " to ", to.string(), ": ", error.message()));
  }
}

}  // namespace

void check_output(const fs::path& out, bool force) {
  if (out.empty()) throw UsageError("an output is needed: -o OUT");
  const fs::path path = without_slash(out);
  const fs::path parent = fs::absolute(path).parent_path();
  std::error_code error;
  fs::create_directories(parent, error);
  // Permissions do not tell all (read-only file systems, /proc): try.
  const fs::path probe = parent / concat(".bitsmith-", ::getpid());
  if (!error) fs::create_directory(probe, error);
  if (error) throw Error(concat("cannot make ", path.string(), ": ", error.message()));
  fs::remove(probe);
  if (!fs::exists(fs::symlink_status(path))) return;
  if (!force) {
    throw UsageError(concat(path.string(), " exists; give another name, or --force to replace it"));
  }
  if (fs::is_symlink(path) || !fs::is_directory(path) ||
      !(fs::is_empty(path) || fs::exists(path / "bitsmith.json"))) {
    throw UsageError(concat(path.string(), " is not a directory that Bitsmith made (it has no ",
                            "bitsmith.json), so --force does not replace it; give another name"));
  }
}

void publish_folder(const fs::path& work, const fs::path& out, bool force) {
  const fs::path target = without_slash(out);
  check_output(target, force);
  for (const auto& entry : fs::recursive_directory_iterator(work)) {
    if (entry.is_regular_file()) sync_file(entry.path());
    if (entry.is_directory()) sync_folder(entry.path());
  }
  sync_folder(work);
  fs::path old;
  if (fs::exists(target)) {
    old = target;
    old += ".old-" + std::to_string(::getpid());
    rename_folder(target, old);
  }
  rename_folder(work, target);
  sync_folder(target.parent_path());
  if (!old.empty()) fs::remove_all(old);
}

}  // namespace bitsmith
