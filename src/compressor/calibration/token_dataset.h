// [3] Calibration and tuning data: windows of tokens, packed without bias.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/communicator.h"
#include "compressor/torch.h"

namespace bitsmith {

struct TokenDataset {
  torch::Tensor train = torch::empty({0, 0}, torch::kInt64);  // [windows, length]
  // [windows, length] int64; never trained or calibrated on; may have 0 rows.
  torch::Tensor validation = torch::empty({0, 0}, torch::kInt64);
  std::string
      hash;  // SHA-256 of ids, lengths and split: names the data in recipes and resume files
  int64_t chats = 0;  // documents that the model's chat template rendered, or windows
                      // of its own text that begin as it says
  std::vector<std::string> warnings;  // why results on it may lie (text_warnings.h); for the recipe
};

// Documents (token ids) in a seeded random order, each followed by `separator`, cut evenly into
// windows (PV-Tuning, appendix H: every token is equally likely to be used). Takes `tokens`
// tokens (0: all, whole windows) and holds `validation_share` of the windows out (at least 1 when
// there are 8 or more), spread evenly. `bos` begins every window, before length - 1 tokens of text:
// models that were trained with it compute something else without. Throws Error when there are
// fewer tokens than one window.
TokenDataset pack_documents(const std::vector<std::vector<int32_t>>& documents, int32_t separator,
                            std::optional<int32_t> bos, int64_t length, int64_t tokens,
                            double validation_share, uint64_t seed);
// The same number of windows from documents that are drawn one by one, each once in random order
// before any comes again: the sampling whose bias appendix H of PV-Tuning names, to compare with. A
// window begins with a document, of one that is longer with a piece from anywhere in it, and the
// beginnings of others fill it up. Tokens of long documents are seen less often than those of short
// ones. What is held out are windows of other documents, the same share of all; of either, no more
// windows than its documents fill, with a warning. Throws as pack_documents(), and UsageError where
// one document alone would be held out from.
TokenDataset sample_documents(const std::vector<std::vector<int32_t>>& documents, int32_t separator,
                              std::optional<int32_t> bos, int64_t length, int64_t tokens,
                              double validation_share, uint64_t seed);
// Ready windows (self-generated data), each `length` long, in random order and held out from.
TokenDataset pack_windows(const std::vector<std::vector<int32_t>>& windows, double validation_share,
                          uint64_t seed);

// All ranks get the data of the first. Collective.
void share_dataset(TokenDataset& data, Communicator& communicator);

}  // namespace bitsmith
