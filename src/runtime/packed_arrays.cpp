#include "runtime/packed_arrays.h"

#include "base/error.h"

namespace bitsmith {

static_assert(NewArrays::kAlignment == PackedFile::kAlignment);

std::shared_ptr<const void> PackedArrays::get(const std::string& name, DType dtype, int64_t count,
                                              const Fill&) {
  const TensorView* const found = file_->find_array(name);
  if (!found) {
    throw Error(concat(file_->source(), " has no array '", excerpt(name),
                       "': another version of Bitsmith packed it, or it is damaged; pack the model "
                       "again"));
  }
  const int64_t bytes = byte_size(dtype, {count});
  const int64_t whole =
      (bytes + PackedFile::kAlignment - 1) / PackedFile::kAlignment * PackedFile::kAlignment;
  if (found->dtype != dtype || static_cast<int64_t>(found->bytes.size()) != whole) {
    throw Error(concat(described(name), " is ", dtype_name(found->dtype), " in ",
                       found->bytes.size(), " bytes, expected ", dtype_name(dtype), " in ", whole,
                       ": the file is damaged"));
  }
  return {file_, found->bytes.data()};
}

std::string PackedArrays::described(const std::string& name) const {
  return concat(file_->source(), ": array '", excerpt(name), "'");
}

}  // namespace bitsmith
