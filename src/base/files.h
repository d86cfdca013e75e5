// Reading by memory map and writing that never leaves half a file.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/mapping_faults.h"

struct evp_md_ctx_st;

namespace bitsmith {

// A whole file, read only. Pages come in on use, so opening a large file costs nothing.
// The mapping lives as long as any shared_ptr to it. Thread-safe (immutable). What happens when the
// file is truncated meanwhile: mapping_faults.h.
class MappedFile {
 public:
  // Throws Error with the path and the system's reason.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }
  // These bytes are not needed for now: their pages leave this process's memory, and come back on
  // the next use. Nothing happens for bytes outside of this map.
  void release(std::span<const std::byte> bytes) const;
  // All of it will be needed soon: the system begins to read what is not in memory.
  void prefetch() const;

 private:
  MappedFile() = default;
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  MappingRegistration registration_;
};

// Writes PATH.*.tmp, a name of its own for each writer; commit() makes it durable (fsync) and
// renames it to PATH. Without commit() the temporary file is removed. Every failure (full disk, no
// permission) throws Error naming the path.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  int fd_ = -1;
};

void write_file_atomic(const std::filesystem::path& path, std::string_view text);
std::string read_text_file(const std::filesystem::path& path);

// fsync of a folder, so that a rename inside it survives a power cut. Throws Error.
void sync_folder(const std::filesystem::path& folder);

// Free bytes on the file system that holds `path` (or its nearest existing parent).
uint64_t free_disk_bytes(const std::filesystem::path& path);
// Memory that can still be taken (the system's and the control groups' limits), and this process's
// resident set now and at its peak; bytes.
uint64_t available_memory_bytes();
uint64_t memory_bytes();
uint64_t peak_memory_bytes();

// SHA-256 of data that comes in pieces.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  std::string finish();  // lower-case hexadecimal; once

 private:
  evp_md_ctx_st* context_;  // OpenSSL's
};

// Lower-case hexadecimal SHA-256.
std::string sha256(std::span<const std::byte> bytes);
std::string sha256(std::string_view text);

}  // namespace bitsmith
