#include "apps/presets.h"

#include "base/error.h"

namespace bitsmith {

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = {
      {"quickstart", "about 3.2 bits in at most 13 minutes for a 135M model; still answers",
       "gvq2d3b-s32", 8, 12.5, 16384, 512, 1, 8},
      {"1bit", "the fewest bytes; for large models, small ones break", "aq1x8g8", 8, 60, 65536,
       1024, 16, 30},
      {"1.5bit", "for large models", "aq2x6g8", 8, 60, 65536, 1024, 16, 30},
      {"2bit", "half the bytes of 4 bits; small models suffer", "aq2x8g8", 8, 60, 65536, 1024, 16,
       30},
      {"2.25bit", "a little more than 2bit in both", "aq3x6g8", 8, 60, 65536, 1024, 16, 30},
      {"3bit", "close to the original", "gvq2d3b-s32", 8, 60, 65536, 1024, 16, 30},
      {"4bit", "hard to tell from the original", "gvq1d4b-s32", 8, 30, 65536, 1024, 16, 30},
  };
  return all;
}

const Preset& find_preset(const std::string& name) {
  std::string names;
  for (const Preset& preset : presets()) {
    if (preset.name == name) return preset;
    names += (names.empty() ? "" : ", ") + preset.name;
  }
  throw UsageError(concat("unknown preset '", name, "': choose one of ", names));
}

std::string presets_help() {
  std::string text = "What to aim at:";
  for (const Preset& preset : presets()) text += "\n  " + preset.name + ": " + preset.gives;
  return text;
}

}  // namespace bitsmith
