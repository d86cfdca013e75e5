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
  for (const char* name : {"int1g0",
                           "int4g64",
                           "int8g0-z",
                           "int2g32-z",
                           "aq1x16g8",
                           "aq2x8g8",
                           "aq8x1g1",
                           "aq3x12g64",
                           "gvq2d2b",
                           "aq2x8g8-s8x4",
                           "gvq1d3b-n512-s64",
                           "gvq4d2.25b-n65536-t288-s32-c16",
                           "gvq2d1.5b",
                           "gvq4d0.75b",
                           "gvq2d2b-t64x192-s16",
                           "int3g64+out0.5%",
                           "aq2x8g8+lr16",
                           "gvq2d2b+out1%+lr8",
                           "int4g64+out12w",
                           "gvq2d3b-s32+rows17",
                           "had:int4g64",
                           "had-in:aq2x8g8",
                           "had-out128:gvq2d2b",
                           "had-in64-out:int3g64+out1%+lr2",
                           "had-real:e8p",
                           "had-real-in64:int4g64",
                           "had-in576-out36:int4g64",
                           "e8p",
                           "e8p3",
                           "had:e8p4+lr2",
                           "gvq1d4b-n1024-c16-r8"}) {
    EXPECT_EQ(to_string(parse_representation(name)), name);
  }
  EXPECT_EQ(std::get<UniformSpec>(parse_representation("int3g128-z").terms.front()),
            (UniformSpec{3, 128, true}));
  EXPECT_EQ(std::get<AdditiveSpec>(parse_representation("aq3x10g4").terms.front()),
            (AdditiveSpec{3, 10, 4}));
}

TEST(RepresentationSpec, ABadNameTeachesTheGrammar) {
  for (const char* name : {"",
                           "int",
                           "int4",
                           "int4g",
                           "int9g64",
                           "int0g64",
                           "int4g-8",
                           "int4g064",
                           "int4g64-y",
                           "int4g64 ",
                           "aq2x8",
                           "aq9x8g8",
                           "aq2x17g8",
                           "aq2x8g65",
                           "aq2x8g0",
                           "fp4g64",
                           "gvq",
                           "gvq3d2b",
                           "gvq2d",
                           "gvq2d2",
                           "gvq2d9b",
                           "gvq2d1.25b",
                           "gvq2d2b-s3",
                           "gvq2d2b-r2",
                           "gvq1d2b-r4",
                           "gvq2d2b-n0",
                           "gvq2d2.b",
                           "gvq2d2b-c16-s4",
                           "gvq2d2b-n64-t8x16",
                           "gvq2d2b-t8x",
                           "gvq2d2b-g8x16",
                           "aq2x8g8-s4x4",
                           "aq2x8g8-s8x9",
                           "aq2x8g8-s9",
                           "out1%",
                           "int4g64+",
                           "int4g64+int4g64",
                           "int4g64+out1%+out1%",
                           "int4g64+out0%",
                           "int4g64+out17%",
                           "int4g64+out1",
                           "int4g64+out1.5w",
                           "int4g64+lr0",
                           "int4g64+rows0",
                           "int4g64+rows",
                           "int4g64+rows2+rows3",
                           "int4g64out1%",
                           "hadint4g64",
                           "had:",
                           "had:out1%",
                           "had:had:int4g64",
                           "had-in3:int4g64",
                           "had-in0:int4g64",
                           "had-in-real:int4g64",
                           "had-in44:int4g64",
                           "had-reall:int4g64",
                           "had-out64-in64:int4g64",
                           "int4g64+had:lr2",
                           "gvq2d2.123b",
                           "gvq0d2b",
                           "e8",
                           "e8p2",
                           "e8p5",
                           "e8p3g8",
                           "int4g99999999999999999999",
                           "INT4G64"}) {
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
  EXPECT_EQ(
      message("gvq2d2b-t100", 48),
      "tiles of 100 inputs do not fit 48 inputs of model.x; tiles that do: 2, 4, 6, 8, 12, 16, 24, "
      "48");
  EXPECT_NE(message("gvq4d2b", 576).find("256 centroids for the"), std::string::npos);
  EXPECT_NE(message("gvq2d2b-s32", 48).find("scales for 32 inputs do not fit 48"),
            std::string::npos);
  EXPECT_NE(message("gvq4d1b", 30).find("vectors of 4 inputs do not fit 30"), std::string::npos);
  EXPECT_EQ(message("e8p3", 44),
            "44 inputs of model.x are no groups of 8, which e8p3 has one code for");
  EXPECT_EQ(message("had-in64:int4g8", 40),
            "the 40 inputs of model.x cannot be rotated in blocks of 64; the largest that "
            "divides them is 40");
  EXPECT_EQ(message("had:int4g7", 7),
            "the 7 inputs of model.x cannot be rotated in blocks: their "
            "number is odd");
  EXPECT_THROW(part_layout(UniformSpec{}, int64_t{1} << 40, int64_t{1} << 40), Error);
  EXPECT_THROW(part_layout(UniformSpec{}, 0, 64), Error);
}

TEST(RepresentationSpec, TheSpellingsOfVersion1AreUnderstood) {
  EXPECT_EQ(to_string(parse_representation("aq2x8g8-s4")), "aq2x8g8-s8x4");
  EXPECT_EQ(to_string(parse_representation("aq2x5g16-s8")), "aq2x5g16-s16x8");
  EXPECT_EQ(to_string(parse_representation("gvq2d2b-n512-g64-s32")), "gvq2d2b-n512-t64-s32");
}

TEST(RepresentationSpec, ResolvedSpecsHoldEverySizeAndComeBackFromJson) {
  constexpr int64_t kOut = 48, kIn = 96;
  const auto resolve = [](const char* name) {
    return resolved(parse_representation(name), kOut, kIn);
  };
  EXPECT_EQ(to_string(resolve("int8g0")), "int8g96");
  EXPECT_EQ(to_string(resolve("gvq2d2b")), "gvq2d2b-t24x96");
  EXPECT_EQ(to_string(resolve("gvq2d2b-n512-t32")), "gvq2d2b-t16x32");
  EXPECT_EQ(to_string(resolve("had:int8g0")), "had-in96-out48:int8g96");
  EXPECT_EQ(to_string(resolve("had-in16:int8g0")), "had-in16:int8g96");
  for (const char* name :
       {"int1g0", "int4g8", "int2g32-z", "aq1x4g8", "aq2x5g8-s8x3", "gvq2d2b", "gvq1d3b-n512-s32",
        "gvq4d1.25b-n1024-t24-s12-c16", "gvq1d3b-n512-c16-r3", "int4g8+out1.25%", "aq1x4g8+lr3",
        "gvq2d2b+out0.5%+lr2", "int4g8+rows48", "had:int4g8+lr3", "had-out2:aq1x4g8", "e8p", "e8p4",
        "had:e8p3", "had-real:int4g8"}) {
    const RepresentationSpec spec = resolve(name);
    EXPECT_EQ(resolved(spec, kOut, kIn), spec) << name;  // nothing is left to a rule
    EXPECT_EQ(spec_from_json(parse_json(spec_to_json(spec).dump(), "x"), "x"), spec) << name;
    const auto asked = part_layout(parse_representation(name), kOut, kIn);
    const auto exact = part_layout(spec, kOut, kIn);
    ASSERT_EQ(asked.size(), exact.size()) << name;
    for (size_t i = 0; i < asked.size(); ++i) {
      EXPECT_EQ(asked[i].name, exact[i].name) << name;
      EXPECT_EQ(asked[i].dtype, exact[i].dtype) << name;
      EXPECT_EQ(asked[i].shape, exact[i].shape) << name;
    }
  }
}

TEST(RepresentationSpec, ShortNamesLeaveOutWhatTheRulesGive) {
  const auto name = [](const char* text) {
    return short_name(resolved(parse_representation(text), 48, 96), 48, 96);
  };
  EXPECT_EQ(name("gvq2d2b-s32"), "gvq2d2b-s32");
  EXPECT_EQ(name("gvq2d2b-t24x96"), "gvq2d2b");
  EXPECT_EQ(name("gvq2d2b-n512-t32"), "gvq2d2b-t16x32");
  EXPECT_EQ(name("int4g32-z"), "int4g32-z");
  EXPECT_EQ(name("gvq2d2b+out0.5%+lr2"), "gvq2d2b+out0.5%+lr2");
  EXPECT_EQ(name("int4g32+out12w"), "int4g32+out0.26%");
  EXPECT_EQ(name("int4g32+rows3"), "int4g32+rows3");
  EXPECT_EQ(name("had:int4g32"), "had:int4g32");
  EXPECT_EQ(name("had-in96-out48:int4g32"), "had:int4g32");
  EXPECT_EQ(name("had-in32-out16:int4g32"), "had-in32-out16:int4g32");
  EXPECT_EQ(name("had-in8-out:int4g32"), "had-in8-out:int4g32");
}

TEST(RepresentationSpec, FieldsOutOfRangeAreErrors) {
  const auto message = [](const std::string& fields) {
    try {
      spec_from_json(parse_json("{\"terms\": [" + fields + "]}", "x"), "config.json");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const std::string gvq = R"("kind": "gvq", "index_bits": 4, "tile_rows": 8, "tile_columns": 16, )"
                          R"("scale_block": 0, "codebook_dtype": "int8", "codebook_rank": 0)";
  EXPECT_EQ(message("{\"vector_size\": 2, " + gvq + "}"), "");
  EXPECT_NE(message("{\"vector_size\": 3, " + gvq + "}").find("vector_size is 3"),
            std::string::npos);
  EXPECT_NE(message("{\"vector_size\": 2, \"later\": 1, " + gvq + "}").find("'later' is not known"),
            std::string::npos);
  EXPECT_NE(message("{" + gvq + "}").find("'vector_size' is missing"), std::string::npos);
  EXPECT_NE(message(R"({"kind": "later"})").find("no representation 'later'"), std::string::npos);
  EXPECT_NE(message(R"({"kind": "e8p", "bits": 5})").find("bits is 5; Bitsmith reads 2 to 4"),
            std::string::npos);
  EXPECT_NE(message(R"({"kind": "int", "nbits": 9, "group_size": 8, "zero_points": false})")
                .find("nbits is 9; Bitsmith reads 1 to 8"),
            std::string::npos);
  EXPECT_NE(message(R"({"kind": "int", "nbits": 4, "group_size": 0, "zero_points": false})")
                .find("group_size is 0"),
            std::string::npos);

  const auto with_transform = [](const std::string& transform) {
    const std::string terms =
        R"("terms": [{"kind": "int", "nbits": 4, "group_size": 8, "zero_points": false}])";
    return spec_from_json(parse_json("{\"transform\": " + transform + ", " + terms + "}", "x"),
                          "x");
  };
  EXPECT_EQ(to_string(with_transform(R"({"kind": "had", "in_block": 8, "out_block": 0})")),
            "had-in8:int4g8");
  EXPECT_EQ(to_string(with_transform(
                R"({"kind": "had", "in_block": 12, "out_block": 0, "real_signs": true})")),
            "had-real-in12:int4g8");
  for (const char* transform :
       {"1", "{}", R"({"kind": "dct", "in_block": 8, "out_block": 8})",
        R"({"kind": "had", "in_block": 0, "out_block": 0})",
        R"({"kind": "had", "in_block": 44, "out_block": 8})",
        R"({"kind": "had", "in_block": 8, "out_block": 8, "real_signs": 1})",
        R"({"kind": "had", "in_block": 8, "out_block": -1})",
        R"({"kind": "had", "in_block": 8, "out_block": 8, "later": 1})"}) {
    EXPECT_THROW(with_transform(transform), Error) << transform;
  }
}

TEST(RepresentationSpec, StripsAreEvenAndColumnGroupsDivideTheInputs) {
  const auto layout = [](const char* name, int64_t out, int64_t in) {
    return gvq_layout(std::get<GvqSpec>(parse_representation(name).terms.front()), out, in);
  };
  EXPECT_EQ(layout("gvq2d2b", 576, 576).tile_columns, 192);
  EXPECT_EQ(layout("gvq2d2b", 576, 576).tile_rows, 11);
  EXPECT_EQ(layout("gvq2d2b", 576, 576).strips, 53);  // the last one has 4 rows
  EXPECT_EQ(layout("gvq2d2b", 576, 1536).tile_columns, 256);
  EXPECT_EQ(layout("gvq2d2b-s64", 576, 1536).tile_columns, 256);
  EXPECT_EQ(layout("gvq2d2b-s64", 576, 1536).tile_rows, 32);  // 8192 weights a codebook
  EXPECT_EQ(layout("gvq2d2b-n2048-t64", 576, 576).tile_rows, 32);
  EXPECT_EQ(layout("gvq2d2b", 4, 576).strips, 1);
  EXPECT_EQ(layout("gvq1d2b", 33, 47).tile_columns, 47);
}

TEST(RepresentationSpec, BitsCountEveryStoredByte) {
  // codes 4 + scales 16/64
  EXPECT_DOUBLE_EQ(bits_per_weight(parse_representation("int4g64"), 128, 576), 4.25);
  // codes 2 + scales 16/32 + zeros 2/32: 64 groups a row fill 16 bytes exactly
  EXPECT_DOUBLE_EQ(bits_per_weight(parse_representation("int2g32-z"), 3, 2048), 2.5625);
  // codes 16/8, one 2 x 256 x 8 codebook pair of fp16 and a scale a row (AQLM's own count)
  EXPECT_DOUBLE_EQ(bits_per_weight(parse_representation("aq2x8g8"), 1536, 576),
                   2.0 + 2 * 256 * 8 * 16.0 / (1536 * 576) + 16.0 / 576);
  // GPTVQ 2-D, 2 bits: 16 int8 centroids of two weights and an fp16 scale for 8 x 256 weights
  EXPECT_DOUBLE_EQ(bits_per_weight(parse_representation("gvq2d2b-n2048"), 4096, 4096),
                   2.0 + (16 * 2 * 8 + 16) / 2048.0);
  // fp16 centroids; a 4-bit scale for 32 weights and two fp16 numbers a codebook
  EXPECT_DOUBLE_EQ(bits_per_weight(parse_representation("gvq2d2b-n4096-s32-c16"), 4096, 4096),
                   2.0 + (16 * 2 * 16 + 32) / 4096.0 + 4 / 32.0);
  // a code of 16 bits for 8 weights, and 8 or 16 more; an fp16 scale for each row and stage
  EXPECT_DOUBLE_EQ(bits_per_weight(parse_representation("e8p"), 128, 576), 2 + 16.0 / 576);
  EXPECT_DOUBLE_EQ(bits_per_weight(parse_representation("e8p3"), 128, 576), 3 + 32.0 / 576);
  EXPECT_DOUBLE_EQ(bits_per_weight(parse_representation("e8p4"), 128, 576), 4 + 32.0 / 576);
  // rows of 3-bit codes are padded to whole bytes: 10 codes in 4 bytes
  EXPECT_DOUBLE_EQ(bits_per_weight(parse_representation("int3g0"), 7, 10), (4 + 2) * 8 / 10.0);
}

}  // namespace
}  // namespace bitsmith
