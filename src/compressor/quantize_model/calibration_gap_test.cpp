#include "compressor/quantize_model/calibration_gap.h"

#include <gtest/gtest.h>

#include "compressor/model/torch_language_model.h"
#include "compressor/quantize_model/test_quantize_model.h"
#include "evaluate/evaluate.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

class CalibrationGapTest : public testing::QuantizeModelTest {
 protected:
  double judged(const std::string& out, const torch::Tensor& windows) const {
    const auto teacher = load_torch_language_model(
        fs::path(BITSMITH_TESTDATA) / "tiny_llama_trained", DType::F32, 1);
    const auto student = load_torch_language_model(folder_ / out, DType::F32, 1);
    const torch::Tensor few = windows.narrow(0, 0, std::min(kGapWindows, windows.size(0)));
    const std::vector<int32_t> tokens(few.const_data_ptr<int64_t>(),
                                      few.const_data_ptr<int64_t>() + few.numel());
    return evaluate(*student, teacher.get(), tokens, {.context = windows.size(1)}).kl;
  }
};

TEST_F(CalibrationGapTest, IsTheKlThatEvaluationGives) {
  options_.representation = parse_representation("int2g16");
  options_.embedding.representation = parse_representation("int4g16");
  const auto files = model("tiny_llama_trained");
  TokenDataset windows = data(*files);
  windows.validation = windows.train.narrow(0, 18, 6).contiguous();
  windows.train = windows.train.narrow(0, 0, 18).contiguous();
  const QuantizeModelResult result = quantize(files, windows, folder_ / "out");
  ASSERT_TRUE(result.kl.calibration && result.kl.heldout);
  const double calibration = judged("out", windows.train),
               heldout = judged("out", windows.validation);
  EXPECT_NEAR(*result.kl.calibration, calibration, 1e-4 * calibration);
  EXPECT_NEAR(*result.kl.heldout, heldout, 1e-4 * heldout);
  EXPECT_NE(calibration, heldout);
  const CalibrationGap kept = read_quantize_result(folder_ / "out").kl;
  EXPECT_EQ(kept.calibration, result.kl.calibration);
  EXPECT_EQ(kept.heldout, result.kl.heldout);
  EXPECT_NE(gap_line(kept).find("held-out text"), std::string::npos);
}

TEST_F(CalibrationGapTest, IsNoneWithoutText) {
  const QuantizeModelResult result = quantize("tiny_llama", "out");
  EXPECT_TRUE(result.kl.calibration);
  EXPECT_FALSE(result.kl.heldout);  // none was held out
  EXPECT_NE(gap_line(result.kl).find("none held out"), std::string::npos);
  options_.method = Method::kRtn;
  const auto files = model("tiny_llama");
  TokenDataset none;
  const QuantizeModelResult rounded = quantize(files, none, folder_ / "rounded");
  EXPECT_FALSE(rounded.kl.calibration || rounded.kl.heldout);
  EXPECT_FALSE(read_quantize_result(folder_ / "rounded").kl.calibration);
}

}  // namespace
}  // namespace bitsmith
