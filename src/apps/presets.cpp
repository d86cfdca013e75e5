#include "apps/presets.h"

#include "base/error.h"

namespace bitsmith {

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = {
      {"quickstart", "about 3.2 bits in at most 13 minutes for a 135M model; still answers",
       "aq3x8g8", 8, 12.5, 16384, 512, 1, 8},
      {"smallest", "about 2.15 bits; for large models, small ones suffer", "aq2x8g8", 8, 60, 65536,
       1024, 16, 30},
      {"balanced", "about 3.2 bits, close to the original", "aq3x8g8", 8, 60, 65536, 1024, 16, 30},
      {"faithful", "about 4.25 bits, hard to tell from the original", "int4g64", 8, 30, 65536, 1024,
       16, 30},
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
