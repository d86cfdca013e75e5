// The presets of bitsmith compress; docs/presets.md has the measurements behind them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace bitsmith {

struct Preset {
  std::string name;
  std::string gives;           // one line for --help
  std::string representation;  // of the blocks' linear layers
  int embedding_bits;          // 16, 8 or 4
  double minutes;              // of the whole pipeline, unless --minutes
  int64_t calibration_tokens;  // for the one-shot quantizer
  int64_t context;             // tokens a window
  int rounds;                  // of AQLM and GPTVQ at most; tuning repairs what is left
  int kmeans_iterations;       // of its start
};

const std::vector<Preset>& presets();
// UsageError lists the names.
const Preset& find_preset(const std::string& name);
std::string presets_help();

}  // namespace bitsmith
