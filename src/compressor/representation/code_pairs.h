// Which codebooks of an additive representation are searched together.
#pragma once
#include <cstdint>
#include <vector>

namespace bitsmith {

// Codebooks first and second are searched jointly, exactly, all others fixed; first == second: one
// codebook alone.
struct CodePair {
  int64_t first, second;
};

// One pass over M codebooks of K centroids: neighbors in a ring, so that M = 2 is one exact search.
// Large codebooks (K * K pairs would be too many) go one at a time.
inline std::vector<CodePair> code_pairs(int64_t num_codebooks, int64_t num_centroids) {
  constexpr int64_t kLargestJoint = 256;
  std::vector<CodePair> pairs;
  const bool joint = num_codebooks > 1 && num_centroids <= kLargestJoint;
  const int64_t count = num_codebooks == 2 && joint ? 1 : num_codebooks;
  for (int64_t m = 0; m < count; ++m) pairs.push_back({m, joint ? (m + 1) % num_codebooks : m});
  return pairs;
}

}  // namespace bitsmith
