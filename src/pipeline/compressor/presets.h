// The presets of compress(); docs/presets.md has the measurements behind them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace bitsmith {

struct Preset {
  std::string name;
  std::string gives;                   // one line for a help text
  std::string representation;          // of the blocks' matrices
  std::string embedding = "8";         // of embedding and head: EmbeddingChoice
  double minutes = 60;                 // of the whole pipeline, unless the request says
  int64_t calibration_tokens = 65536;  // for the one-shot quantizer
  int64_t context = 1024;              // tokens a window
  int rounds = 16;                     // of codes at most; tuning makes good what fewer leave
  int kmeans_iterations = 30;          // of AQLM's start
};

const std::vector<Preset>& presets();
// UsageError lists the names.
const Preset& find_preset(const std::string& name);
std::string presets_help();

}  // namespace bitsmith
