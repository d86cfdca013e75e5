#include "compressor/train/moment_format.h"

#include "base/name_table.h"
#include "compressor/train/eight_bit_moments.h"

namespace bitsmith {
namespace {

constexpr NameTable<MomentFormat, 4> kFormats = {"optimizer state",
                                                 {{MomentFormat::kAuto, "auto"},
                                                  {MomentFormat::kFloat32, "float32"},
                                                  {MomentFormat::kBFloat16, "bfloat16"},
                                                  {MomentFormat::kEightBits, "8bit"}}};

}  // namespace

std::string option_text(MomentFormat format) { return kFormats.name(format); }
void parse_option(const std::string& text, MomentFormat& format) { format = kFormats.parse(text); }

double bytes_a_moment(MomentFormat format) {
  switch (format) {
    case MomentFormat::kFloat32:
      return 4;
    case MomentFormat::kBFloat16:
      return 2;
    case MomentFormat::kEightBits:
      return 1 + static_cast<double>(sizeof(float)) / kMomentBlock;
    case MomentFormat::kAuto:
      break;
  }
  BITSMITH_CHECK(false);
  return 0;
}

}  // namespace bitsmith
