#include "kernels/attention.h"

namespace bitsmith {

int64_t attention_scratch(int64_t positions, int64_t padded_head_dim) {
  constexpr int64_t kQueries = 8;  // the most that are taken at a time
  return kQueries * (positions + 2 * kAttentionBlock + padded_head_dim);
}

}  // namespace bitsmith
