// A weight matrix [out_features, in_features] prepared for the runtime's kernels: whatever the file
// holds (dense or a representation), the model multiplies by it through this.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/thread_pool.h"
#include "format/quantized_tensor.h"
#include "runtime/matrices/array_store.h"
#include "runtime/matrices/input_rotation.h"

namespace bitsmith {

// How tokens are multiplied with the weights. Whichever it is, a token's results do not depend, bit
// for bit, on the number of threads, on the other tokens, nor on how many they are; the ways differ
// from each other by rounding.
enum class Products {
  kSingle,  // by the kernels for one token: the least time for one
  kInt8,    // weights decoded once for all tokens, to int8; activations rounded to int8: prompts
  kShared,  // as kInt8 where decodes_for_few(), else as kSingle: answers side by side
  kExact    // weights decoded once for all tokens, to float32; nothing is rounded: evaluation
};

class WeightMatrix {
 public:
  virtual ~WeightMatrix() = default;
  int64_t out_features = 0;
  int64_t in_features = 0;

  // y[t * out_features + o] = sum_i x[t * in_features + i] * W[o, i] for t in [0, tokens).
  // Not reentrant: one caller at a time.
  virtual void multiply(Products products, const float* x, int64_t tokens, float* y,
                        ThreadPool& pool) = 0;
  // The same, added to y: what a term of a sum does.
  virtual void add_product(Products products, const float* x, int64_t tokens, float* y,
                           ThreadPool& pool);
  // The rotation of x that multiply() begins with; null: none. Linears that share their inputs
  // share it too, and a caller may do it once for all of them.
  virtual const InputRotation* input_rotation() const { return nullptr; }
  // multiply() of inputs that are rotated already.
  virtual void multiply_rotated(Products products, const float* rotated, int64_t tokens, float* y,
                                ThreadPool& pool) {
    multiply(products, rotated, tokens, y, pool);
  }
  // Whether kInt8 takes less time than kSingle for a few tokens (some 8) already.
  virtual bool decodes_for_few() const { return true; }
  // One decoded row [in_features]; the embedding lookup.
  virtual void decode_row(int64_t row, float* out) const = 0;
  // Bytes that one token's multiply reads (for the ratio to memory bandwidth).
  virtual uint64_t bytes() const = 0;
  // What multiplies a single token, for people: "additive lookup".
  virtual std::string kernel() const = 0;
};

// Dense: float32 rows are pulled through read_rows(first, count, out) so
// that no second copy of the whole exists; kept as bfloat16 or float32, in an array of this name.
inline constexpr const char* kDenseBfloat16 = "dense1.bfloat16";
inline constexpr const char* kDenseFloat32 = "dense1.float32";
using ReadRows = std::function<void(int64_t first, int64_t count, std::span<float> out)>;
std::unique_ptr<WeightMatrix> make_dense_matrix(int64_t out_features, int64_t in_features,
                                                bool as_bfloat16, const MatrixArrays& arrays,
                                                const ReadRows& read_rows);
// For the best kernel of this processor (selected_isa()), in arrays that `arrays` gives. The
// tensor's parts are read where they are filled, and may go afterwards; where they lie in a file a
// tensor without parts will do.
std::unique_ptr<WeightMatrix> make_quantized_matrix(const QuantizedTensor& tensor,
                                                    const MatrixArrays& arrays);
// The same in memory of their own.
std::unique_ptr<WeightMatrix> make_dense_matrix(int64_t out_features, int64_t in_features,
                                                bool as_bfloat16, const ReadRows& read_rows);
std::unique_ptr<WeightMatrix> make_quantized_matrix(const QuantizedTensor& tensor);

}  // namespace bitsmith
