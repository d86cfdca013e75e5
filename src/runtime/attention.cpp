#include "runtime/attention.h"

#include <cstring>

#include "base/error.h"
#include "runtime/kernels/weight_matrix.h"
#include "runtime/kv_cache.h"

namespace bitsmith {

extern const VectorFunctions kVectorFunctions_scalar;
extern const VectorFunctions kVectorFunctions_avx2;
extern const VectorFunctions kVectorFunctions_avx512;

int64_t attention_scratch(int64_t positions, int64_t padded_head_dim) {
  constexpr int64_t kQueries = 8;  // the most that attend() takes at a time
  return kQueries * (positions + 2 * KvCache::kBlock + padded_head_dim);
}

const VectorFunctions& vector_functions(const char* isa) {
#if defined(__x86_64__)
  if (std::strcmp(isa, "avx512") == 0) return kVectorFunctions_avx512;
  if (std::strcmp(isa, "avx2") == 0) return kVectorFunctions_avx2;
#endif
  BITSMITH_CHECK(std::strcmp(isa, "scalar") == 0);
  return kVectorFunctions_scalar;
}

const VectorFunctions& vector_functions() {
  static const VectorFunctions& functions = vector_functions(kernel_isa());
  return functions;
}

}  // namespace bitsmith
