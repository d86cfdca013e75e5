// Calibration data when the user has none: the model writes its own. Sampling takes minutes, so
// sequences are kept on disk, under a name made of everything that determines them.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace bitsmith {

struct SelfGeneratedRequest {
  std::string model_hash;  // Checkpoint::content_hash()
  int64_t vocab_size = 0;
  int64_t count = 0;   // sequences
  int64_t length = 0;  // tokens in each
  double temperature = 1.0;
  uint64_t seed = 0;
};

// Samples `count` sequences of `length` tokens; apps/ hand the runtime's generator in.
using SequenceGenerator =
    std::function<std::vector<std::vector<int32_t>>(const SelfGeneratedRequest&)>;

// $XDG_CACHE_HOME/bitsmith, else ~/.cache/bitsmith; empty when neither variable is set.
std::filesystem::path default_cache_folder();

// Sequences from CACHE/self_generated/, or generated and put there. A cached file that is not
// exactly what was asked for (damaged, or of an older format) is made anew. An empty `cache_folder`
// means no cache, and one that cannot be written costs a warning, not the work.
std::vector<std::vector<int32_t>> self_generated_sequences(
    const SelfGeneratedRequest& request, const std::filesystem::path& cache_folder,
    const SequenceGenerator& generate);

}  // namespace bitsmith
