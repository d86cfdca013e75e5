#include "runtime/attention.h"

#include "base/error.h"
#include "runtime/kv_cache.h"

namespace bitsmith {

extern const VectorFunctions kVectorFunctions_scalar;
extern const VectorFunctions kVectorFunctions_avx2;
extern const VectorFunctions kVectorFunctions_avx512;

int64_t attention_scratch(int64_t positions, int64_t padded_head_dim) {
  constexpr int64_t kQueries = 8;  // the most that attend() takes at a time
  return kQueries * (positions + 2 * KvCache::kBlock + padded_head_dim);
}

const VectorFunctions& vector_functions(Isa isa) {
  BITSMITH_CHECK(cpu_supports(isa));
  switch (isa) {
    case Isa::avx512:
      return kVectorFunctions_avx512;
    case Isa::avx2:
      return kVectorFunctions_avx2;
    case Isa::scalar:
      break;
  }
  return kVectorFunctions_scalar;
}

const VectorFunctions& vector_functions() {
  static const VectorFunctions& functions = vector_functions(selected_isa());
  return functions;
}

}  // namespace bitsmith
