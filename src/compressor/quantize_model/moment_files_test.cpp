#include "compressor/quantize_model/moment_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <map>

#include "base/error.h"
#include "base/files.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

class MomentFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) / concat("moment_files_", ::getpid());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    work_ = std::make_unique<WorkFolder>(folder_ / "out", false, OrderedJson{{"command", "test"}});
    torch::manual_seed(81);
  }
  void TearDown() override {
    work_.reset();
    fs::remove_all(folder_);
  }
  static SecondMoments random_moments(double weight) {
    SecondMoments moments;
    for (const auto& [module, out] :
         std::map<std::string, int64_t>{{"a", 5}, {"b", 1}, {"c", 12}}) {
      const auto x = torch::randn({20, out});
      moments[module] = {torch::matmul(x.t(), x), weight};
    }
    return moments;
  }
  std::string message(const std::function<void()>& task) const {
    try {
      task();
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }

  fs::path folder_;
  std::unique_ptr<WorkFolder> work_;
};

TEST(MomentParts, AreTwoHalvesAndAQuarter) {
  EXPECT_EQ(moment_part_bounds(3), (std::array<int64_t, 4>{0, 1, 2, 3}));
  EXPECT_EQ(moment_part_bounds(64), (std::array<int64_t, 4>{0, 24, 48, 64}));
}

TEST_F(MomentFilesTest, HoldTheSumOfABlocksBatches) {
  const SecondMoments one = random_moments(7), two = random_moments(0), three = random_moments(2.5);
  MomentFiles files(*work_);
  files.add({MomentPart::kFirst, 0, 3, true}, 4, one);
  files.add({MomentPart::kFirst, 3, 2, false}, 4, two);
  files.add({MomentPart::kFirst, 3, 2, false}, 4, three);  // there already: an interrupted run
  files.add({MomentPart::kSecond, 5, 4, true}, 4, two);
  files.add({MomentPart::kSecond, 5, 4, true}, 4, two);
  files.add({MomentPart::kHeldOut, 9, 1, true}, 4, one);
  files.add({MomentPart::kHeldOut, 10, 2, false}, 4, three);
  for (const auto& [module, moment] : one) {
    SCOPED_TRACE(module);
    const OutputMoments read = files.read(4, module, moment.matrix.size(0));
    const auto expect = [](const SecondMoment& found, const SecondMoment& expected) {
      EXPECT_TRUE(torch::allclose(found.matrix, expected.matrix, 1e-5, 1e-5));
      EXPECT_TRUE(torch::equal(found.matrix, found.matrix.t()));
      EXPECT_EQ(found.weight, expected.weight);
    };
    expect(read.first, joined(moment, two.at(module)));
    expect(read.second, two.at(module));
    expect(read.held_out, joined(moment, three.at(module)));
  }
  const fs::path file = work_->file("moments-second-00004.safetensors");
  EXPECT_GT(fs::file_size(file), static_cast<uint64_t>(moment_file_bytes(12)));
}

TEST_F(MomentFilesTest, SayWhatIsWrong) {
  MomentFiles files(*work_);
  files.add({MomentPart::kFirst, 0, 3, true}, 0, random_moments(1));
  EXPECT_NE(message([&] {
              files.add({MomentPart::kFirst, 5, 2, false}, 0, random_moments(1));
            }).find("has the windows before 3, expected 5"),
            std::string::npos);
  EXPECT_NE(message([&] { files.read(0, "a", 5); }), "");  // other parts are missing
  files.add({MomentPart::kSecond, 3, 3, true}, 0, random_moments(1));
  files.add({MomentPart::kHeldOut, 6, 2, true}, 0, random_moments(1));
  EXPECT_EQ(message([&] { files.read(0, "a", 5); }), "");
  EXPECT_NE(message([&] { files.read(0, "a", 6); }).find("'a.moment' of 21 values is missing"),
            std::string::npos);
  EXPECT_NE(message([&] { files.read(0, "d", 5); }).find("'d.moment'"), std::string::npos);
  const fs::path file = work_->file("moments-heldout-00000.safetensors");
  std::string bytes = read_text_file(file);
  bytes[bytes.size() - 2] ^= 1;
  write_file_atomic(file, bytes);
  EXPECT_NE(message([&] { MomentFiles(*work_).read(0, "a", 5); }).find("damaged"),
            std::string::npos);
}

}  // namespace
}  // namespace bitsmith
