// The second moments of gradients that output factors are made of (objective/output_factor.h), in
// the work folder: they are as large as the model, so that only one block's are in memory.
#pragma once
#include <array>
#include <filesystem>
#include <string>

#include "checkpoint/safetensors.h"
#include "compressor/objective/output_factor.h"
#include "compressor/quantize_model/output_gradients.h"
#include "format/work_folder.h"

namespace bitsmith {

// The calibration windows in their order: two halves that make G, and a quarter that judges it.
enum class MomentPart { kFirst, kSecond, kHeldOut };
inline constexpr int64_t kLeastMomentWindows = 3;  // one for each part
// What begins at window `part`; kHeldOut + 1: the end.
std::array<int64_t, 4> moment_part_bounds(int64_t windows);

// Windows of one part [first, first + count); `begins` it.
struct MomentBatch {
  MomentPart part;
  int64_t first, count;
  bool begins;
};

// A file for each part of each block, moments-PART-NNNNN.safetensors, with the sum over all batches
// so far. Files are replaced whole: an interrupted run goes on from any moment.
class MomentFiles {
 public:
  explicit MomentFiles(const WorkFolder& work) : work_(work) {}
  // Batches of a part come in their order. One that a file has already is not added again. Error
  // for a file that is damaged or does not have just the batches before.
  void add(const MomentBatch& batch, int64_t block_index, const SecondMoments& moments) const;
  // Of a module with `out` rows. The block's files are checked once, as long as one block is read
  // after another.
  OutputMoments read(int64_t block_index, const std::string& module, int64_t out);

 private:
  std::filesystem::path path(MomentPart part, int64_t block_index) const;

  const WorkFolder& work_;
  int64_t open_block_ = -1;
  std::array<SafetensorsFile, 3> files_;  // of that block
};

// Bytes of a module's moments of one part in a file.
int64_t moment_file_bytes(int64_t out);

}  // namespace bitsmith
