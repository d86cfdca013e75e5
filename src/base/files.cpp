#include "base/files.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/cgroup.h"
#include "base/error.h"

namespace bitsmith {
namespace {

[[noreturn]] void fail(const char* what, const std::filesystem::path& path) {
  throw Error(concat("cannot ", what, " ", path.string(), ": ", std::strerror(errno)));
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("open", path);
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    if (S_ISDIR(info.st_mode)) errno = EISDIR;
    ::close(fd);
    fail("read", path);
  }
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->path_ = path;
  file->size_ = static_cast<size_t>(info.st_size);
  if (file->size_ > 0) {
    void* data = ::mmap(nullptr, file->size_, PROT_READ, MAP_PRIVATE, fd, 0);
    ::close(fd);
    if (data == MAP_FAILED) {
      file->size_ = 0;
      fail("map", path);
    }
    file->data_ = static_cast<const std::byte*>(data);
    file->registration_ = MappingRegistration(data, file->size_, file->path_.c_str());
  } else {
    ::close(fd);
  }
  return file;
}

MappedFile::~MappedFile() {
  registration_ = {};
  if (size_ > 0) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(std::span<const std::byte> bytes) const {
  if (bytes.empty() || bytes.data() < data_ || bytes.data() + bytes.size() > data_ + size_) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t first = (begin + page - 1) / page * page,
                  last = (begin + bytes.size()) / page * page;
  // The map is private and never written, so that the pages can only be the file's.
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

void MappedFile::prefetch() const {
  if (size_ > 0) ::madvise(const_cast<std::byte*>(data_), size_, MADV_WILLNEED);
}

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path) {
  static std::atomic<unsigned> made{0};
  do {  // a name of a dead process that had the same number may be left
    temporary_ = concat(path.string(), ".", ::getpid(), "-", made++, ".tmp");
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  } while (fd_ < 0 && errno == EEXIST);
  if (fd_ < 0) fail("create", path);
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) {
    ::close(fd_);
    ::unlink(temporary_.c_str());
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("write", path_);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void AtomicFile::commit() {
  if (::fsync(fd_) != 0) fail("flush", path_);
  const int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int reason = errno;
    ::unlink(temporary_.c_str());
    errno = reason;
    fail("finish", path_);
  }
  sync_folder(path_.parent_path());
}

void write_file_atomic(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

std::string read_text_file(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void sync_folder(const std::filesystem::path& folder) {
  const std::filesystem::path name = folder.empty() ? "." : folder;
  const int fd = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail("open", name);
  // Some file systems cannot flush folders; a disk that fails says so.
  const bool failed = ::fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP;
  const int reason = errno;
  ::close(fd);
  errno = reason;
  if (failed) fail("flush", name);
}

uint64_t free_disk_bytes(const std::filesystem::path& path) {
  std::filesystem::path existing = std::filesystem::absolute(path);
  while (!std::filesystem::exists(existing) && existing.has_parent_path() &&
         existing != existing.parent_path()) {
    existing = existing.parent_path();
  }
  std::error_code error;
  const auto info = std::filesystem::space(existing, error);
  return error ? 0 : info.available;
}

namespace {

// The value of a line "KEY: N kB" of a file in /proc, in bytes; 0 without such a line.
uint64_t proc_bytes(const char* path, std::string_view key) {
  std::ifstream file(path);
  std::string found;
  uint64_t kilobytes = 0;
  while (file >> found) {
    if (found == key && file >> kilobytes) return kilobytes * 1024;
    std::getline(file, found);
  }
  return 0;
}

}  // namespace

uint64_t available_memory_bytes() {
  return std::min(proc_bytes("/proc/meminfo", "MemAvailable:"), cgroup_limits().memory);
}

uint64_t memory_bytes() { return proc_bytes("/proc/self/status", "VmRSS:"); }

// Not getrusage(): its maximum outlives exec, and a started program would report its parent's.
uint64_t peak_memory_bytes() { return proc_bytes("/proc/self/status", "VmHWM:"); }

namespace {

void check_digest(int result) {
  if (result != 1) throw Error("SHA-256 is not available in this OpenSSL");
}

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  BITSMITH_CHECK(context_ != nullptr);
  check_digest(EVP_DigestInit_ex(context_, EVP_sha256(), nullptr));
}

Sha256::~Sha256() { EVP_MD_CTX_free(context_); }

void Sha256::update(std::span<const std::byte> bytes) {
  check_digest(EVP_DigestUpdate(context_, bytes.data(), bytes.size()));
}

void Sha256::update(std::string_view text) { update(std::as_bytes(std::span(text))); }

std::string Sha256::finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  check_digest(EVP_DigestFinal_ex(context_, digest, &size));
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 15];
  }
  return text;
}

std::string sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

std::string sha256(std::string_view text) { return sha256(std::as_bytes(std::span(text))); }

}  // namespace bitsmith
