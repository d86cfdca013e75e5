#include "kernels/attention.h"

namespace bitsmith {
namespace {

int64_t page_bytes(KvType type, int64_t dims) {
  const int64_t numbers = kAttentionBlock * dims;
  switch (type) {
    case KvType::kFloat16:
      return 2 * numbers;
    case KvType::kFloat32:
      return 4 * numbers;
    case KvType::kInt8:
      return numbers + 4 * kAttentionBlock;
  }
  return 0;
}

}  // namespace

int64_t key_page_bytes(KvType type, int64_t head_dim) { return page_bytes(type, head_dim); }

int64_t value_page_bytes(KvType type, int64_t padded_head_dim) {
  return page_bytes(type, padded_head_dim);
}

int64_t attention_scratch(int64_t positions, int64_t padded_head_dim) {
  constexpr int64_t kQueries = 8;  // the most that are taken at a time
  return kQueries * (positions + 2 * kAttentionBlock + padded_head_dim);
}

}  // namespace bitsmith
