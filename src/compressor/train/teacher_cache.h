// The teacher's most likely next tokens on disk: run once, used in every epoch and every run on the
// same windows.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/run_context.h"
#include "checkpoint/safetensors.h"
#include "compressor/train/teacher.h"

namespace bitsmith {

// All that a cache's content depends on.
struct TeacherCacheKey {
  std::string model_hash;  // Checkpoint::content_hash()
  std::string data_hash;   // TokenDataset::hash
  std::string dtype;       // of the teacher's passes
  int64_t top_k = 0;       // in [1, vocab]
  double temperature = 1;
};

// Error where `folder` holds something else than the cache of `windows` [n, length] by this key, or
// a part of it; `vocab`: the teacher's. What can be refused without the teacher; TeacherCache does
// so as well.
void check_teacher_cache(const std::filesystem::path& folder, const TeacherCacheKey& key,
                         const torch::Tensor& windows, int64_t vocab);

// Of each position the `top_k` largest probabilities and the mass of all others, the tail. A loss
// that reads it sees a teacher whose tail has the student's own shape and the teacher's mass: with
// p and q as distributions of the top tokens and "another", that is KL(p || q) and its exact
// gradient (of JS as well). It is never above the true divergence (data processing inequality), and
// asks nothing of the order of unlikely tokens.
class TeacherCache : public Teacher {
 public:
  // Goes on making the cache in `folder` where it is not whole, from `windows` [n, length] int64,
  // by `decoder`, `micro_windows` at a time; one run makes it, others are refused meanwhile. Its
  // ranks, who all see the folder, share the files that are missing. Then each reads and checks all
  // of it. Error, and nothing changed, for the cache of another key, a
  // damaged one, a folder of something else, and a disk that is too full; Interrupted with what is
  // done kept.
  TeacherCache(const std::filesystem::path& folder, const TeacherCacheKey& key, Decoder& decoder,
               const torch::Tensor& windows, int64_t micro_windows, const RunContext& context);

  std::unique_ptr<TeacherRows> rows(const TrainingWindows& windows) override;

 private:
  // Neighboring windows in one file.
  struct Shard {
    std::shared_ptr<const MappedFile> file;
    const int32_t* ids = nullptr;              // [windows, length, top_k]
    const float* log_probabilities = nullptr;  // the same
    const float* log_tails = nullptr;          // [windows, length]
  };
  class Rows;
  class Maker;
  Shard open(const std::filesystem::path& path, int64_t count) const;

  std::string identity_;  // of the key and the windows' shape
  int64_t top_k_, length_, vocab_;
  std::vector<Shard> shards_;
};

// The `top_k` likeliest of each position of logits [n, vocab] over the temperature.
struct TopTokens {
  torch::Tensor ids;                // [n, top_k] int32, likeliest first
  torch::Tensor log_probabilities;  // [n, top_k] float32
  torch::Tensor log_tails;          // [n] float32: of all others together; -infinity for none
};
TopTokens top_tokens(const torch::Tensor& logits, int64_t top_k, double temperature);

// The logits of a teacher of whom that much is known (TeacherCache), at a position where the
// student has `student` [vocab], both over the temperature.
void fill_cached_logits(const int32_t* ids, const float* log_probabilities, int64_t top_k,
                        float log_tail, const float* student, int64_t vocab, float* logits);

}  // namespace bitsmith
