// The arrays of a packed file, where they lie: processes that map one file share one copy.
#pragma once
#include <memory>
#include <string>
#include <utility>

#include "checkpoint/packed_file.h"
#include "runtime/matrices/array_store.h"

namespace bitsmith {

class PackedArrays final : public ArrayStore {
 public:
  explicit PackedArrays(std::shared_ptr<const PackedFile> file) : file_(std::move(file)) {}

  // Fills nothing: Error where the file has no such array of this type and size.
  std::shared_ptr<const void> get(const std::string& name, DType dtype, int64_t count,
                                  const Fill& fill) override;
  std::string described(const std::string& name) const override;
  bool has(const std::string& name) const { return file_->find_array(name) != nullptr; }

 private:
  std::shared_ptr<const PackedFile> file_;
};

}  // namespace bitsmith
