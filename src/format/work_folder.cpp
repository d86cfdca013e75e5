#include "format/work_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "format/output_folder.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

// Raise it when a newer program would go on with older work to another result.
constexpr int kWorkVersion = 5;

constexpr const char* kLock = "lock";
constexpr const char* kRequest = "request.json";
constexpr const char* kDone = "done.json";
constexpr const char* kAside = "replaced";  // what was at OUT, on file systems without exchange

fs::path partial_path(const fs::path& out) { return out.string() + ".partial"; }

uint64_t inode(const fs::path& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_ino) : 0;
}

// A member in the order of its keys; null where there is none.
OrderedJson member(const OrderedJson& json, const char* key) {
  return json.is_object() && json.contains(key) ? json.at(key) : OrderedJson();
}

// Files of this class and nothing else: a run that has made nothing yet, or was killed then.
bool has_only_own_files(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool own =
        name == kLock || name == kRequest || (name.starts_with(kRequest) && name.ends_with(".tmp"));
    if (!own) return false;
  }
  return true;
}

// Names the first thing in which two requests differ.
std::string first_difference(const OrderedJson& mine, const OrderedJson& theirs) {
  for (const auto& [key, value] : mine.items()) {
    if (!theirs.contains(key)) return concat(key, " is new");
    if (value == theirs.at(key)) continue;
    return value.is_object() && theirs.at(key).is_object()
               ? key + "." + first_difference(value, theirs.at(key))
               : concat(key, " ", json_excerpt(theirs.at(key)), " there, ", json_excerpt(value),
                        " asked for");
  }
  for (const auto& [key, value] : theirs.items())
    if (!mine.contains(key)) return concat(key, " ", json_excerpt(value), " there, none asked for");
  return "order of options";
}

}  // namespace

FolderLock::FolderLock(const fs::path& folder) {
  const fs::path file = folder / kLock;
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) throw Error(concat("cannot make ", folder.string(), ": ", error.message()));
    fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd_ < 0 && errno == ENOENT) continue;  // its owner has just removed the folder
    if (fd_ < 0) throw Error(concat("cannot create ", file.string(), ": ", std::strerror(errno)));
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      const int reason = errno;
      char owner[32] = {};
      const bool known = ::pread(fd_, owner, sizeof(owner) - 1, 0) > 0;
      ::close(fd_);
      if (reason == EWOULDBLOCK) {
        throw Error(concat("another run works in ", folder.string(),
                           known ? concat(" (process ", std::strtol(owner, nullptr, 10), ")") : "",
                           ": wait for it, or choose another output"));
      }
      throw Error(concat("cannot lock ", file.string(), ": ", std::strerror(reason)));
    }
    // The file may have been removed, and made anew by another, before it was locked.
    struct stat mine {
    }, there{};
    if (::fstat(fd_, &mine) == 0 && ::stat(file.c_str(), &there) == 0 &&
        mine.st_ino == there.st_ino && mine.st_dev == there.st_dev) {
      const std::string owner = std::to_string(::getpid());
      if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, owner.data(), owner.size(), 0) < 0)
        log_warning(concat("cannot write ", file.string(), ": ", std::strerror(errno)));
      return;
    }
    ::close(fd_);
  }
  throw Error("cannot lock " + file.string());
}

FolderLock::~FolderLock() { ::close(fd_); }

// done.json: which directory is the result, and how it is known again after a rename.
struct WorkFolder::Done {
  std::string result;       // its name in the work folder
  uint64_t inode = 0;       // of the directory
  std::string fingerprint;  // of its bitsmith.json
  OrderedJson request;

  static std::string fingerprint_of(const fs::path& folder) {
    const fs::path file = folder / "bitsmith.json";
    return fs::is_regular_file(file) ? sha256(read_text_file(file)) : "";
  }
  static Done of(const fs::path& folder, OrderedJson request) {
    return {folder.filename().string(), bitsmith::inode(folder), fingerprint_of(folder),
            std::move(request)};
  }
  static Done read(const fs::path& file) {
    const std::string source = file.string();
    const OrderedJson json = parse_ordered_json(read_text_file(file), source);
    return {json_get<std::string>(json, "result", source),
            json_get<uint64_t>(json, "inode", source),
            json_get<std::string>(json, "sha256", source), member(json, "request")};
  }
  OrderedJson to_json() const {
    return {{"result", result}, {"inode", inode}, {"sha256", fingerprint}, {"request", request}};
  }
  // The inode tells an equal old result from the new one. A folder that was copied to another disk
  // has other inodes; there the contents decide.
  bool is_at(const fs::path& out, const fs::path& work) const {
    const fs::path waiting = work / result;
    if (bitsmith::inode(out) == inode) return true;
    if (bitsmith::inode(waiting) == inode) return false;
    return fingerprint_of(out) == fingerprint && fingerprint_of(waiting) != fingerprint;
  }
};

void check_work_folder(const fs::path& out, bool force) {
  const fs::path path = partial_path(output_path(out));
  if (!fs::exists(fs::symlink_status(path))) return check_output(out, force);
  if (fs::is_symlink(path) || !fs::is_directory(path))
    throw UsageError(concat(path.string(), " is in the way: choose another output"));
  if (!fs::exists(path / kRequest) && !fs::exists(path / kDone) && !has_only_own_files(path)) {
    throw UsageError(concat(path.string(), " is in the way and not work of this program: ",
                            "delete it or choose another output"));
  }
}

namespace {

// What a run that was killed had begun to write (AtomicFile) and would be part of the result.
void remove_temporary_files(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && entry.path().extension() == ".tmp")
      found.push_back(entry.path());
  }
  for (const fs::path& path : found) fs::remove(path);
}

}  // namespace

WorkFolder::WorkFolder(const fs::path& out, bool force, OrderedJson request,
                       Communicator& communicator)
    : out_(output_path(out)),
      path_(partial_path(out_)),
      force_(force),
      communicator_(communicator),
      request_(std::move(request)) {
  check_same_request();
  if (communicator_.first()) {
    check_work_folder(out_, force_);
    lock_ = std::make_unique<FolderLock>(path_);
    try {
      take();
    } catch (...) {
      if (lock_ && !holds_work()) remove();
      throw;
    }
  }
  published_ = communicator_.broadcast_value(published_);
  const std::string settled = communicator_.broadcast_text(settled_.dump());
  if (!communicator_.first()) settled_ = parse_ordered_json(settled, path_.string());
}

void WorkFolder::check_same_request() const {
  const std::string own = request_.dump(), of_first = communicator_.broadcast_text(own);
  if (own == of_first) return;
  throw Error(
      concat("the processes of this run were asked for different work (",
             first_difference(request_, parse_ordered_json(of_first, path_.string())),
             "): start all with the same options, and with the same files on all machines"));
}

WorkFolder::~WorkFolder() {
  try {
    if (lock_ && !holds_work()) remove();
  } catch (const std::exception&) {  // somebody took the folder away, or part of it
  }
}

bool WorkFolder::holds_work() const { return !has_only_own_files(path_); }

void WorkFolder::take() {
  if (fs::exists(file(kDone))) {
    const Done done = Done::read(file(kDone));
    if (done.request == request_) {
      finish(done);
      published_ = true;
      return;
    }
    if (!done.is_at(out_, path_)) {
      throw UsageError(concat(path_.string(),
                              " holds the finished result of another command that is not yet in ",
                              "place (", first_difference(request_, done.request),
                              "): run that command again, or choose another output"));
    }
    remove();
    lock_ = std::make_unique<FolderLock>(path_);
  }
  check_output(out_, force_);
  const fs::path request_file = file(kRequest);
  if (fs::exists(request_file)) {
    const OrderedJson found =
        parse_ordered_json(read_text_file(request_file), request_file.string());
    const bool same_version = member(found, "version") == kWorkVersion;
    const OrderedJson other = member(found, "request"), settled = member(found, "settled");
    if (same_version && other == request_ && settled.is_object()) {
      settled_ = settled;
      remove_temporary_files(path_);
      return;
    }
    if (holds_work()) {
      throw UsageError(
          concat(path_.string(), " holds the unfinished work of another command (",
                 !same_version       ? "or of another version of this program"
                 : other.is_object() ? first_difference(request_, other)
                                     : "unreadable request.json",
                 "): finish it with that command, delete it, or choose another output"));
    }
  }
  write_request();
}

void WorkFolder::write_request() const {
  write_json_file(file(kRequest),
                  {{"version", kWorkVersion}, {"request", request_}, {"settled", settled_}});
}

fs::path WorkFolder::empty_folder(const std::string& name) const {
  const fs::path folder = path_ / name;
  fs::remove_all(folder);
  fs::create_directory(folder);
  return folder;
}

uint64_t WorkFolder::bytes() const {
  uint64_t total = 0;
  for (const auto& entry : fs::recursive_directory_iterator(path_))
    if (entry.is_regular_file()) total += entry.file_size();
  return total;
}

OrderedJson WorkFolder::recipe() const {
  OrderedJson recipe = request_;
  recipe.update(notes_);
  return recipe;
}

OrderedJson WorkFolder::settle(const std::string& name, const std::function<OrderedJson()>& find) {
  if (!settled_.contains(name)) {
    const OrderedJson found = communicator_.first() ? find() : OrderedJson();
    const std::string text = communicator_.broadcast_text(found.dump());
    settled_[name] = communicator_.first() ? found : parse_ordered_json(text, name);
    if (communicator_.first()) write_request();
  }
  return settled_.at(name);
}

void WorkFolder::require(const std::string& name, const OrderedJson& fact) {
  const OrderedJson settled = settle(name, [&] { return fact; });
  if (settled != fact) {
    throw Error(concat(path_.string(), " was begun with other ", name, " (", json_excerpt(settled),
                       ", now ", json_excerpt(fact), "): delete it to start anew"));
  }
}

std::string WorkFolder::hash() const { return sha256(request_.dump() + settled_.dump()); }

void WorkFolder::publish(const fs::path& result) {
  sync_tree(result);
  const Done done = Done::of(result, request_);
  write_json_file(file(kDone), done.to_json());
  finish(done);
}

void WorkFolder::finish(const Done& done) {
  if (!done.is_at(out_, path_)) {
    const fs::path waiting = path_ / done.result;
    if (!fs::exists(waiting)) {
      throw Error(concat("neither ", out_.string(), " nor ", waiting.string(),
                         " is the finished result; delete ", path_.string(), " to start anew"));
    }
    check_output(out_, force_);
    put_in_place(waiting, out_, path_ / kAside);
  }
  remove();
}

// done.json stays until nothing else is left, so that a killed run knows OUT for its own.
void WorkFolder::remove() {
  std::vector<fs::path> rest;
  for (const auto& entry : fs::directory_iterator(path_)) {
    const std::string name = entry.path().filename().string();
    if (name != kDone && name != kLock) rest.push_back(entry.path());
  }
  for (const fs::path& entry : rest) fs::remove_all(entry);
  fs::remove(file(kDone));
  fs::remove(file(kLock));
  std::error_code taken;  // by a run that waited for the lock
  fs::remove(path_, taken);
  lock_.reset();
}

}  // namespace bitsmith
