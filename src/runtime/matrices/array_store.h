// The arrays that weight matrices multiply with, laid out for their kernels. A matrix says an
// array's name, its length, and how it is filled; where it lies is the store's business: in memory
// that is filled now, or in a file that holds what was filled once (runtime/packed_arrays.h). So
// what is packed and what is loaded without it have one layout, and one piece of code that knows
// it.
//
// The number at the end of a layout's name, as in "uniform1.codes", is its version. Who changes
// what an array of that name holds counts it up: files that were packed before are then refused,
// as they lack the new name.
#pragma once
#include <algorithm>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "checkpoint/tensor_view.h"

namespace bitsmith {

// Read only; keeps its memory alive. On a 64-byte boundary.
template <typename T>
class Array {
 public:
  Array() = default;
  Array(std::shared_ptr<const T> data, int64_t size) : data_(std::move(data)), size_(size) {}

  const T* data() const { return data_.get(); }
  int64_t size() const { return size_; }
  uint64_t bytes() const { return static_cast<uint64_t>(size_) * sizeof(T); }
  const T& operator[](int64_t i) const { return data_.get()[i]; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }

 private:
  std::shared_ptr<const T> data_;
  int64_t size_ = 0;
};

class ArrayStore {
 public:
  // Fills an array; its memory is zero before.
  using Fill = std::function<void(void* memory)>;

  virtual ~ArrayStore() = default;
  // `count` values of `dtype`. Throws Error where a file does not have them.
  virtual std::shared_ptr<const void> get(const std::string& name, DType dtype, int64_t count,
                                          const Fill& fill) = 0;
  // An array's name in a message, with the file that it comes from.
  virtual std::string described(const std::string& name) const { return name; }
};

// Arrays in memory of this process, filled when they are asked for.
class NewArrays final : public ArrayStore {
 public:
  static constexpr int64_t kAlignment = 64;

  std::shared_ptr<const void> get(const std::string& name, DType dtype, int64_t count,
                                  const Fill& fill) override;
  // Everything that was made, in its order, zeros added up to a multiple of kAlignment bytes.
  // Views, valid while this store lives.
  const std::vector<TensorView>& made() const { return made_; }

 private:
  std::vector<TensorView> made_;
  std::vector<std::shared_ptr<const void>> memory_;
};

// The type of an array in a file. Halves of either format are codes to a file: 16 bits.
template <typename T>
constexpr DType array_dtype() {
  if constexpr (std::is_same_v<T, float>) return DType::F32;
  if constexpr (std::is_same_v<T, int8_t>) return DType::I8;
  if constexpr (std::is_same_v<T, uint8_t>) return DType::U8;
  if constexpr (std::is_same_v<T, int16_t> || std::is_same_v<T, uint16_t>) return DType::I16;
  if constexpr (std::is_same_v<T, int32_t>) return DType::I32;
  if constexpr (std::is_same_v<T, int64_t>) return DType::I64;
}

// The arrays of one matrix: "MATRIX.NAME" in the store. Passed by value or reference; the store is
// only used while the matrix is made.
class MatrixArrays {
 public:
  MatrixArrays(ArrayStore& store, std::string matrix)
      : store_(&store), matrix_(std::move(matrix)) {}

  template <typename T>
  Array<T> get(const std::string& name, int64_t count, const std::function<void(T*)>& fill) const {
    const auto memory = store_->get(full_name(name), array_dtype<T>(), count,
                                    [&](void* zeroed) { fill(static_cast<T*>(zeroed)); });
    return {std::static_pointer_cast<const T>(memory), count};
  }

  // Values that choose one of `limit` things. Error where a file's do not, so that whoever uses
  // them need not look.
  template <std::integral T>
  Array<T> indices(const std::string& name, int64_t count, int64_t limit,
                   const std::function<void(T*)>& fill) const {
    const Array<T> array = get<T>(name, count, fill);
    if (limit > int64_t{std::numeric_limits<T>::max()}) {
      if constexpr (std::is_unsigned_v<T>) return array;
    }
    const auto [least, most] = std::minmax_element(array.begin(), array.end());
    if (least != array.end()) {
      check_index(name, static_cast<int64_t>(*least), limit);
      check_index(name, static_cast<int64_t>(*most), limit);
    }
    return array;
  }
  void check_index(const std::string& name, int64_t index, int64_t limit) const {
    if (index >= 0 && index < limit) return;
    throw Error(concat(store_->described(full_name(name)), " holds the index ", index, " of ",
                       limit, ": the file is damaged"));
  }

  // A matrix inside of this one.
  MatrixArrays inner(const std::string& name) const { return {*store_, full_name(name)}; }

 private:
  std::string full_name(const std::string& name) const { return matrix_ + "." + name; }

  ArrayStore* store_;
  std::string matrix_;
};

}  // namespace bitsmith
