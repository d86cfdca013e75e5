#include "pipeline/compressor/presets.h"

#include "base/error.h"

namespace bitsmith {

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = {
      {.name = "quickstart",
       .gives = "about 3.2 bits in less than 12 minutes for a 135M model; still answers",
       .representation = "gvq2d3b-s32",
       .minutes = 11.5,
       .calibration_tokens = 16384,
       .context = 512,
       .rounds = 1,
       .kmeans_iterations = 8},
      {.name = "1bit",
       .gives = "the fewest bytes; for large models, small ones break",
       .representation = "aq1x8g8"},
      {.name = "1.5bit", .gives = "for large models", .representation = "aq2x6g8"},
      {.name = "2bit",
       .gives = "half the bytes of 4 bits; small models suffer",
       .representation = "aq2x8g8"},
      {.name = "2.25bit", .gives = "a little more than 2bit in both", .representation = "aq3x6g8"},
      {.name = "3bit", .gives = "close to the original", .representation = "gvq2d3b-s32"},
      {.name = "4bit",
       .gives = "hard to tell from the original",
       .representation = "gvq1d4b-s32",
       .minutes = 30},
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
