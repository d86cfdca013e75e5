// Quantizing a model by full output factors.
#include <cmath>

#include "compressor/model/dense_tensor.h"
#include "compressor/objective/hessian_sum.h"
#include "compressor/quantize_model/test_guided.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;
using testing::folder_hashes;
using testing::StopAt;

class KroneckerQuantization : public testing::GuidedTest {
 protected:
  void SetUp() override {
    GuidedTest::SetUp();
    options_.objective = ErrorMeasure::kKronecker;
  }
};

// Samples whose rows hang together.
torch::Tensor mixed_samples(int64_t n, int64_t out) {
  torch::manual_seed(83);
  const auto mix = torch::eye(out) + torch::randn({out, out}) / std::sqrt(static_cast<double>(out));
  return torch::matmul(torch::randn({n, out}), mix);
}
SecondMoment moment_of(const torch::Tensor& samples) {
  HessianSum sum(samples.size(1));
  sum.add(samples);
  return {sum.hessian(), sum.weight()};
}

// Any feedback over rows makes independent errors cost more where held-out gradients are.
TEST_F(KroneckerQuantization, WithoutSupportGivesTheBytesOfGuided) {
  const auto files = model("families/tiny_mixtral");
  const torch::Tensor windows = data(*files).train;
  const OutputGradients own = gradients(files, windows);
  const OutputMomentSource unsupported = [](int64_t, const Linear& linear) {
    const SecondMoment moment = moment_of(mixed_samples(500, linear.out_features));
    return OutputMoments{moment, moment, {torch::eye(linear.out_features), 1}};
  };
  for (const RowWeights weights : {RowWeights::kNone, RowWeights::kGuided}) {
    for (const char* representation : {"int3g16", "aq1x4g8", "gvq2d1b-n128"}) {
      SCOPED_TRACE(concat(option_text(weights), " ", representation));
      options_.row_weights = weights;
      options_.representation = parse_representation(representation);
      options_.objective = ErrorMeasure::kGuided;
      const auto guided = first_block(files, windows, own);
      options_.objective = ErrorMeasure::kKronecker;
      expect_equal_bytes(guided, first_block(files, windows, own, unsupported));
    }
  }
}

TEST_F(KroneckerQuantization, WithSupportLowersItsOwnObjective) {
  const auto files = model("tiny_llama_trained");
  const torch::Tensor windows = data(*files, 48).train;
  const OutputGradients own = gradients(files, windows);
  const OutputMomentSource supported = [](int64_t, const Linear& linear) {
    const auto samples = mixed_samples(4000, linear.out_features);
    return OutputMoments{moment_of(samples.slice(0, 0, 1500)),
                         moment_of(samples.slice(0, 1500, 3000)),
                         moment_of(samples.slice(0, 3000))};
  };
  options_.cross_term = 0;
  for (const char* representation : {"int3g16", "aq1x6g8", "gvq2d2b-n1024"}) {
    SCOPED_TRACE(representation);
    options_.representation = parse_representation(representation);
    options_.objective = ErrorMeasure::kGuided;
    const auto guided = first_block(files, windows, own);
    options_.objective = ErrorMeasure::kKronecker;
    const auto kronecker = first_block(files, windows, own, supported);

    const torch::NoGradGuard no_grad;
    const auto decoder = Decoder::load_without_blocks(files, torch::kFloat32);
    const auto block = decoder->load_block(0);
    double by_kronecker = 0, by_guided = 0;
    decoder->run_block(
        *block, decoder->embed(windows), decoder->rotary(windows.size(1)),
        [&](size_t site, const torch::Tensor& inputs) {
          for (const Linear* linear : block->site_linears(site)) {
            HessianSum sum(linear->in_features);
            sum.add(inputs, token_weights(own.at(linear->name), 0, options_.guided_share));
            Objective objective(sum.hessian());
            objective.output_factor = moment_of(mixed_samples(4000, linear->out_features)).matrix;
            const auto error = [&](const auto& matrices) {
              return relative_error(linear->weight,
                                    decode_matrix(matrices.at(linear->name), torch::kFloat32),
                                    objective);
            };
            by_kronecker += error(kronecker);
            by_guided += error(guided);
          }
        });
    EXPECT_LT(by_kronecker, 0.97 * by_guided);
  }
}

// Batches of a few windows, several in each part; what is there of one is not added again.
TEST_F(KroneckerQuantization, AnInterruptedPassGoesOnToTheSameBytes) {
  options_.representation = parse_representation("int3g16");
  const auto files = ModelFiles::open(deep_model(20));
  const TokenDataset windows = data(*files);
  const auto batches = gradient_batches(files->plan(), windows.train.size(0), /*in_parts=*/true);
  int64_t next = 0, parts = 0;
  for (const MomentBatch& batch : batches) {
    EXPECT_EQ(batch.first, next);
    next += batch.count;
    if (batch.begins) ++parts;
  }
  EXPECT_EQ(next, windows.train.size(0));
  EXPECT_EQ(parts, 3);
  ASSERT_GT(batches.size(), 4u);
  quantize(files, windows, folder_ / "whole");
  for (const double fraction : {0.3, 0.85}) {
    SCOPED_TRACE(fraction);
    StopAt stop("gradients", fraction, cancel_);
    progress_ = &stop;
    const std::string out = concat("resumed", fraction);
    EXPECT_THROW(quantize(files, windows, folder_ / out), Interrupted);
    EXPECT_TRUE(fs::exists(folder_ / (out + ".partial") / "moments-first-00019.safetensors"));
    progress_ = nullptr;
    cancel_.clear();
    quantize(files, windows, folder_ / out);
    EXPECT_EQ(folder_hashes(folder_ / "whole"), folder_hashes(folder_ / out));
  }
}

TEST_F(KroneckerQuantization, EveryFamilySaysWhatBecameOfItsOutputFactors) {
  for (const char* name : {"tiny_llama_trained", "families/tiny_gemma2", "families/tiny_gpt_neox",
                           "families/tiny_mixtral"}) {
    for (const char* representation : {"int3g16", "aq2x4g8"}) {
      SCOPED_TRACE(concat(name, " ", representation));
      options_.representation = parse_representation(representation);
      options_.row_weights = representation[0] == 'a' ? RowWeights::kGuided : RowWeights::kNone;
      const std::string out = fs::path(name).filename().string() + representation;
      const QuantizeModelResult result = quantize(name, out);
      const OrderedJson facts = recipe(out);
      ASSERT_EQ(facts.at("layers").size(), result.linears.size());
      for (size_t i = 0; i < result.linears.size(); ++i) {
        const LinearSummary& linear = result.linears[i];
        SCOPED_TRACE(linear.module);
        EXPECT_LT(linear.relative_error, 1);
        ASSERT_TRUE(linear.output_factor);
        const bool full =
            linear.output_factor->held_out_cost < 1 - OutputFactorEstimate::kLeastGain;
        const bool diagonal = options_.row_weights == RowWeights::kGuided;
        EXPECT_EQ(linear.output_factor->used, full ? "full" : diagonal ? "diagonal" : "identity");
        EXPECT_TRUE(linear.output_factor->shrinkage >= 0 && linear.output_factor->shrinkage <= 1);
        EXPECT_EQ(facts.at("layers")[i].at("output_factor").at("used").get<std::string>(),
                  linear.output_factor->used);
      }
    }
  }
}

TEST_F(KroneckerQuantization, RefusesFullOutputFactorsBeforeTheWork) {
  const auto refused = [&](const std::string& representation, const std::string& part) {
    options_.representation = parse_representation(representation);
    options_.objective = ErrorMeasure::kKronecker;
    expect_refused(part);
  };
  options_.linear.max_rounds = 0;
  refused("aq1x4g8", "aqlm needs rounds for it");
  options_.linear.codebook_update = false;
  refused("gvq2d1b-n128", "codebook updates");
  options_.linear.outliers = OutlierChoice::kAdmm;
  refused("int3g16+out1%", "not by admm");
  options_.method = Method::kRtn;
  refused("int3g16", "the objective kronecker needs a method that learns");
  options_.representation = parse_representation("int3g16");
  options_.objective = ErrorMeasure::kKronecker;
  const auto files = model("tiny_llama");
  EXPECT_THROW(quantize(files, data(*files, 2), folder_ / "out"), Error);
}

}  // namespace
}  // namespace bitsmith
