// How Adam's moments are kept from one step to the next.
#pragma once
#include <cstdint>
#include <string>

namespace bitsmith {

// kAuto: what the owner of the moments chooses. kEightBits: eight_bit_moments.h.
enum class MomentFormat { kAuto, kFloat32, kBFloat16, kEightBits };

// How they are written: "auto", "float32", "bfloat16", "8bit". UsageError names the choices.
std::string option_text(MomentFormat format);
void parse_option(const std::string& text, MomentFormat& format);

// Of one moment of a large tensor, with its scales. Not of kAuto.
double bytes_a_moment(MomentFormat format);

}  // namespace bitsmith
