#include "compressor/budget/sensitivity_rows.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "base/files.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

class SensitivityRowsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = fs::path(::testing::TempDir()) / concat("rows_", ::getpid(), ".jsonl");
    fs::remove(path_);
  }
  void TearDown() override { fs::remove(path_); }
  fs::path path_;
  const OrderedJson one_ = {{"version", 1}, {"model", "a"}, {"data", "text"}, {"seed", 0}};
  const OrderedJson two_ = {{"version", 1}, {"model", "b"}, {"data", "text"}, {"seed", 1}};
};

TEST_F(SensitivityRowsTest, StayInTheFileByTheirRequest) {
  {
    SensitivityRows rows(path_, one_);
    rows.add({"q", "int4g16", 0.1 / 3, 1.0 / 7});
    rows.add({"q", "int2g16", 0.5, {}});
    SensitivityRows(path_, two_).add({"q", "int4g16", 9, 9.0});
  }
  SensitivityRows rows(path_, one_);
  ASSERT_NE(rows.find("q", "int4g16"), nullptr);
  EXPECT_EQ(rows.find("q", "int4g16")->relative_error, 0.1 / 3);  // bit by bit
  EXPECT_EQ(rows.find("q", "int4g16")->kl, 1.0 / 7);
  EXPECT_FALSE(rows.find("q", "int2g16")->kl);
  EXPECT_EQ(rows.find("v", "int2g16"), nullptr);
  rows.add({"q", "int2g16", 0.5, 2.0});
  EXPECT_EQ(SensitivityRows(path_, one_).find("q", "int2g16")->kl, 2.0);
  EXPECT_EQ(SensitivityRows(path_, two_).find("q", "int4g16")->kl, 9.0);
}

TEST_F(SensitivityRowsTest, AnUnfinishedLineIsRemovedAndDamageIsAnError) {
  SensitivityRows(path_, one_).add({"q", "int4g16", 1, 1.0});
  std::ofstream(path_, std::ios::app) << R"({"request":"one","un)";
  SensitivityRows rows(path_, one_);
  EXPECT_NE(rows.find("q", "int4g16"), nullptr);
  rows.add({"q", "int2g16", 2, 2.0});
  EXPECT_NE(SensitivityRows(path_, one_).find("q", "int2g16"), nullptr);
  // What is no row stays, whether its line ends or not.
  const std::string rows_alone = read_text_file(path_);
  for (const std::string more : {"no row\n", "no row", "{\"requests\":1", "{\"a\":1}\n{\"req"}) {
    SCOPED_TRACE(more);
    write_file_atomic(path_, rows_alone + more);
    EXPECT_THROW(SensitivityRows(path_, one_), Error);
    EXPECT_EQ(read_text_file(path_), rows_alone + more);
  }
  EXPECT_THROW(SensitivityRows(path_ / "none", one_), Error);
}

TEST_F(SensitivityRowsTest, SaysWhatOtherRequestsDifferIn) {
  EXPECT_EQ(SensitivityRows(path_, one_).why_unused(), "");  // nothing there
  // A file of a version that told no facts.
  write_file_atomic(path_,
                    "{\"request\":\"0\",\"unit\":\"q\",\"representation\":\"int4g16\","
                    "\"relative_error\":1.0}\n");
  EXPECT_EQ(SensitivityRows(path_, one_).why_unused(), "version");
  fs::remove(path_);
  SensitivityRows(path_, two_).add({"q", "int4g16", 1, 1.0});
  EXPECT_EQ(SensitivityRows(path_, two_).why_unused(), "");
  EXPECT_EQ(SensitivityRows(path_, one_).why_unused(), "model, seed");
  // The nearest of several.
  OrderedJson three = one_;
  three["data"] = "other text";
  SensitivityRows(path_, three).add({"q", "int4g16", 1, 1.0});
  EXPECT_EQ(SensitivityRows(path_, one_).why_unused(), "data");
  SensitivityRows(path_, one_).add({"q", "int4g16", 1, 1.0});
  EXPECT_EQ(SensitivityRows(path_, one_).why_unused(), "");
}

}  // namespace
}  // namespace bitsmith
