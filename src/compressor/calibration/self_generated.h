// Calibration data when the user has none: the model writes its own. Sampling takes minutes, so
// windows are kept on disk, under a name made of everything that determines them, and also those
// of a request that was interrupted.
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
  int32_t start = 0;  // the token that a window begins with
  // Windows of this share begin as a chat in place of that (is_in_share() of evaluate/chat_share.h,
  // user_turn_start()).
  double chat_share = 0;
  std::vector<int32_t> chat_start = {};
  int64_t count = 0;    // windows
  int64_t context = 0;  // tokens in each
  double temperature = 1.0;
  uint64_t seed = 0;

  bool is_chat(int64_t window) const;
  // How a window begins.
  std::vector<int32_t> beginning(int64_t window) const;
};

// Samples the windows [first, first + count) of a request, of `context` tokens each; pipeline/
// hands the runtime's generator in. Window i must not depend on `first` beyond the batch it is
// in.
using WindowGenerator = std::function<std::vector<std::vector<int32_t>>(
    const SelfGeneratedRequest&, int64_t first, int64_t count)>;

// Windows that are sampled side by side, and kept when they are done.
constexpr int64_t kGeneratedAtOnce = 32;

// $XDG_CACHE_HOME/bitsmith, else ~/.cache/bitsmith; empty when neither variable is set.
std::filesystem::path default_cache_folder();

// Windows from CACHE/self_generated/, or generated and put there. A cached file that is not
// exactly what was asked for (damaged, or of an older format) is made anew. An empty `cache_folder`
// means no cache, and one that cannot be written costs a warning, not the work. An Interrupted that
// `generate` throws says how to go on; finished batches are kept, and the text is the same.
std::vector<std::vector<int32_t>> self_generated_windows(const SelfGeneratedRequest& request,
                                                         const std::filesystem::path& cache_folder,
                                                         const WindowGenerator& generate);

}  // namespace bitsmith
