#include "format/representation_spec.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"

namespace bitsmith {
namespace {

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(RepresentationSpec, EveryNameComesBackAsItWasWritten) {
  for (const char* name : {"int1g0", "int4g64", "int8g0-z", "int2g32-z", "aq1x16g8", "aq2x8g8",
                           "aq8x1g1", "aq3x12g64"}) {
    EXPECT_EQ(to_string(parse_representation(name)), name);
  }
  EXPECT_EQ(std::get<UniformSpec>(parse_representation("int3g128-z")), (UniformSpec{3, 128, true}));
  EXPECT_EQ(std::get<AdditiveSpec>(parse_representation("aq3x10g4")), (AdditiveSpec{3, 10, 4}));
}

TEST(RepresentationSpec, ABadNameTeachesTheGrammar) {
  for (const char* name : {"", "int", "int4", "int4g", "int9g64", "int0g64", "int4g-8", "int4g064",
                           "int4g64-y", "int4g64 ", "aq2x8", "aq9x8g8", "aq2x17g8", "aq2x8g65",
                           "aq2x8g0", "fp4g64", "int4g99999999999999999999", "INT4G64"}) {
    const std::string message = error_of([&] { parse_representation(name); });
    EXPECT_NE(message.find("intBgG"), std::string::npos) << name << ": " << message;
    EXPECT_NE(message.find(concat("'", name, "'")), std::string::npos) << message;
  }
  EXPECT_NE(error_of([] { parse_representation("int9g64"); }).find("9 bits is outside 1..8"),
            std::string::npos);
}

TEST(RepresentationSpec, AGroupThatDoesNotFitNamesThoseThatDo) {
  const auto message = [](const char* name, int64_t columns) {
    return error_of([&] { part_layout(parse_representation(name), 4, columns, "model.x"); });
  };
  EXPECT_EQ(message("int4g128", 576),
            "group size 128 does not divide 576 inputs of model.x; sizes that do: 8, 16, 24, 32, "
            "48, 64, 72, 96, 144, 192, 288, 576, 0 (the whole row)");
  EXPECT_EQ(message("aq2x8g7", 576),
            "group size 7 does not divide 576 inputs of model.x; sizes that do: 4, 8, 12, 16, 24, "
            "32, 36, 48, 64");
  EXPECT_EQ(message("aq2x8g2", 21),
            "group size 2 does not divide 21 inputs of model.x; sizes that do: 1, 3, 7, 21");
  EXPECT_THROW(part_layout(UniformSpec{}, int64_t{1} << 40, int64_t{1} << 40), Error);
  EXPECT_THROW(part_layout(UniformSpec{}, 0, 64), Error);
}

TEST(RepresentationSpec, BitsCountEveryStoredByte) {
  // codes 4 + scales 16/64
  EXPECT_DOUBLE_EQ(bits_per_weight(parse_representation("int4g64"), 128, 576), 4.25);
  // codes 2 + scales 16/32 + zeros 2/32: 64 groups a row fill 16 bytes exactly
  EXPECT_DOUBLE_EQ(bits_per_weight(parse_representation("int2g32-z"), 3, 2048), 2.5625);
  // codes 16/8, one 2 x 256 x 8 codebook pair of fp16 and a scale a row (AQLM's own count)
  EXPECT_DOUBLE_EQ(bits_per_weight(parse_representation("aq2x8g8"), 1536, 576),
                   2.0 + 2 * 256 * 8 * 16.0 / (1536 * 576) + 16.0 / 576);
  // rows of 3-bit codes are padded to whole bytes: 10 codes in 4 bytes
  EXPECT_DOUBLE_EQ(bits_per_weight(parse_representation("int3g0"), 7, 10), (4 + 2) * 8 / 10.0);
}

}  // namespace
}  // namespace bitsmith
