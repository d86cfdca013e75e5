// Quantizing a model for its end loss, and with what the halves of the calibration text say.
#include <algorithm>
#include <vector>

#include "compressor/model/dense_tensor.h"
#include "compressor/objective/hessian_sum.h"
#include "compressor/quantize_model/test_guided.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;
using testing::folder_hashes;
using testing::StopAt;

class GuidedQuantization : public testing::GuidedTest {};

TEST_F(GuidedQuantization, EqualGradientsGiveTheBytesOfTheLayersObjective) {
  for (const char* name : {"tiny_llama", "families/tiny_mixtral"}) {
    const auto files = model(name);
    const torch::Tensor windows = data(*files).train;
    OutputGradients equal;
    for (const LinearPlan* linear : linears(files->plan().blocks[0]))
      equal[linear->name] = {torch::full({1, windows.numel()}, 3.f),
                             torch::full({linear->out_features}, 3.f)};
    for (const char* representation : {"int3g16", "aq1x4g8", "gvq2d1b-n128"}) {
      SCOPED_TRACE(concat(name, " ", representation));
      options_.representation = parse_representation(representation);
      options_.objective = ErrorMeasure::kGuided;
      const auto guided = first_block(files, windows, equal);
      options_.objective = ErrorMeasure::kLayer;
      expect_equal_bytes(first_block(files, windows, {}), guided);
    }
  }
}

// A group of rows is what it is where the whole matrix has the group's weights of tokens.
TEST_F(GuidedQuantization, GroupsOfRowsAreMatricesOfTheirOwn) {
  options_.cross_term = 0;
  const auto files = model("tiny_llama_trained");
  const torch::Tensor windows = data(*files).train;
  torch::manual_seed(84);
  OutputGradients both;
  std::vector<OutputGradients> alone(2);
  for (const LinearPlan* linear : linears(files->plan().blocks[0])) {
    const auto tokens = torch::randn({2, windows.numel()}).square();
    const auto rows = torch::ones({linear->out_features});
    both[linear->name] = {tokens, rows};
    for (int64_t group = 0; group < 2; ++group)
      alone[static_cast<size_t>(group)][linear->name] = {tokens.narrow(0, group, 1), rows};
  }
  options_.representation = parse_representation("int3g16");
  options_.linear.max_rounds = 0;  // their products of other heights round in another way
  options_.guided_groups = 2;
  const auto grouped = first_block(files, windows, both);
  options_.guided_groups = 1;
  for (int64_t group = 0; group < 2; ++group) {
    const auto whole = first_block(files, windows, alone[static_cast<size_t>(group)]);
    for (const auto& [module, matrix] : whole) {
      const auto half = [&](const QuantizedTensor& tensor) {
        return decode_matrix(tensor, torch::kFloat32).chunk(2)[static_cast<size_t>(group)];
      };
      EXPECT_TRUE(torch::equal(half(grouped.at(module)), half(matrix))) << module << group;
    }
  }
}

// What it is for: in the first block both see the same inputs, and each is better by its own
// measure.
TEST_F(GuidedQuantization, LowersItsOwnObjective) {
  options_.representation = parse_representation("int3g16");
  options_.cross_term = 0;
  const auto files = model("tiny_llama_trained");
  const torch::Tensor windows = data(*files, 48).train;
  const OutputGradients own = gradients(files, windows);
  const auto guided = first_block(files, windows, own);
  options_.objective = ErrorMeasure::kLayer;
  const auto layer = first_block(files, windows, {});

  const torch::NoGradGuard no_grad;
  const auto decoder = Decoder::load_without_blocks(files, torch::kFloat32);
  const auto block = decoder->load_block(0);
  double guided_by_guided = 0, guided_by_layer = 0, layer_by_guided = 0, layer_by_layer = 0;
  decoder->run_block(
      *block, decoder->embed(windows), decoder->rotary(windows.size(1)),
      [&](size_t site, const torch::Tensor& inputs) {
        for (const Linear* linear : block->site_linears(site)) {
          HessianSum weighted(linear->in_features), plain(linear->in_features);
          weighted.add(inputs, token_weights(own.at(linear->name), 0, options_.guided_share));
          plain.add(inputs);
          const auto error = [&](const HessianSum& sum, const auto& matrices) {
            return relative_error(linear->weight,
                                  decode_matrix(matrices.at(linear->name), torch::kFloat32),
                                  sum.hessian());
          };
          guided_by_guided += error(weighted, guided);
          layer_by_guided += error(weighted, layer);
          guided_by_layer += error(plain, guided);
          layer_by_layer += error(plain, layer);
        }
      });
  EXPECT_LT(guided_by_guided, layer_by_guided);
  EXPECT_LT(layer_by_layer, guided_by_layer);
}

TEST_F(GuidedQuantization, AnInterruptedPassGoesOnToTheSameBytes) {
  options_.representation = parse_representation("aq1x8g8");
  options_.row_weights = RowWeights::kGuided;
  options_.batch_tokens = 64;
  const auto files = model("tiny_llama_trained");
  const TokenDataset windows = data(*files);
  const int64_t at_once = gradient_batch_windows(files->plan(), windows.train.size(0));
  ASSERT_LT(at_once, windows.train.size(0));
  quantize(files, windows, folder_ / "whole");

  StopAt stop("gradients", 0.9, cancel_);  // in the second batch
  progress_ = &stop;
  EXPECT_THROW(quantize(files, windows, folder_ / "resumed"), Interrupted);
  const fs::path work = folder_ / "resumed.partial";
  EXPECT_TRUE(fs::exists(work / "gradients-00000.safetensors"));
  EXPECT_FALSE(fs::exists(work / "gradients-00001.safetensors"));
  progress_ = nullptr;
  cancel_.clear();
  quantize(files, windows, folder_ / "resumed");
  EXPECT_EQ(folder_hashes(folder_ / "whole"), folder_hashes(folder_ / "resumed"));

  // A damaged file is found.
  progress_ = &stop;
  EXPECT_THROW(quantize(files, windows, folder_ / "damaged"), Interrupted);
  const fs::path file = folder_ / "damaged.partial" / "gradients-00000.safetensors";
  std::string bytes = read_text_file(file);
  bytes[bytes.size() - 3] ^= 1;
  write_file_atomic(file, bytes);
  progress_ = nullptr;
  cancel_.clear();
  try {
    quantize(files, windows, folder_ / "damaged");
    ADD_FAILURE() << "not found";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("damaged"), std::string::npos) << e.what();
  }
}

TEST_F(GuidedQuantization, EveryFamilyAndEveryWeightOfRows) {
  for (const char* name : {"families/tiny_gemma2", "families/tiny_gpt_neox",
                           "families/tiny_mixtral", "tiny_llama_gguf"}) {
    for (const RowWeights weights :
         {RowWeights::kNone, RowWeights::kGuided, RowWeights::kRelative}) {
      SCOPED_TRACE(concat(name, " ", option_text(weights)));
      options_.representation = parse_representation("aq2x4g8");
      options_.row_weights = weights;
      const std::string out = concat(fs::path(name).filename().string(), option_text(weights));
      const QuantizeModelResult result = quantize(name, out);
      for (const LinearSummary& linear : result.linears)
        EXPECT_LT(linear.relative_error, 1) << linear.module;
      const Json options = recipe(out).at("options");
      EXPECT_EQ(options.at("objective"), "guided");
      EXPECT_EQ(options.value("row_weights", "none"), option_text(weights));
    }
  }
}

TEST_F(GuidedQuantization, HalvesOfTheTextChooseShares) {
  options_.objective = ErrorMeasure::kLayer;
  options_.representation = parse_representation("int2g16");
  const auto shares = [&](const std::string& out, const char* key) {
    quantize("families/tiny_mixtral", out);
    std::vector<double> found;
    const OrderedJson facts = recipe(out);
    for (const auto& linear : facts.at("layers")) {
      if (linear.contains(key)) found.push_back(linear.at(key).get<double>());
    }
    for (const double share : found) EXPECT_TRUE(share >= 0 && share <= 1) << share;
    return found;
  };
  EXPECT_TRUE(shares("plain", "cross_term").empty());
  EXPECT_TRUE(shares("plain2", "shrinkage").empty());
  const size_t matrices = linears(model("families/tiny_mixtral")->plan().blocks[0]).size() * 2;
  options_.estimate_cross_term = true;
  EXPECT_EQ(shares("estimated", "cross_term").size(), matrices);
  options_.estimate_cross_term = false;
  options_.shrink_hessian = true;
  const std::vector<double> shrunk = shares("shrunk", "shrinkage");
  ASSERT_EQ(shrunk.size(), matrices);
  EXPECT_GT(*std::ranges::max_element(shrunk), 0);
}

TEST_F(GuidedQuantization, RefusesWhatHasNoObjective) {
  const auto refused = [&](const std::string& part) {
    expect_refused(part);
    options_.method = Method::kRtn;
  };
  options_.method = Method::kRtn;
  refused("the objective guided needs a method that learns");
  options_.row_weights = RowWeights::kRelative;
  refused("weighting rows");
  options_.estimate_cross_term = true;
  refused("estimating the cross term");
  options_.shrink_hessian = true;
  refused("shrinking Hessians");
  options_.method.reset();  // the embedding learns from text, the blocks do not
  options_.embedding.representation = parse_representation("int3g16");
  options_.keep = {"layers"};
  options_.objective = ErrorMeasure::kGuided;
  refused("the objective guided needs a method that learns");
  options_.method.reset();
  options_.estimate_cross_term = true;
  options_.cross_term = 0;
  refused("cannot be estimated");
  options_.method.reset();
  options_.guided_groups = 2;
  refused("give --objective guided too");
  options_.method.reset();
  options_.objective = ErrorMeasure::kKronecker;
  options_.guided_groups = 2;
  refused("give --objective guided too");
  options_.method.reset();
  options_.objective = ErrorMeasure::kGuided;
  options_.guided_groups = 2;
  options_.representation = parse_representation("aq1x4g8");
  refused("--row-weights guided instead");
  options_.method.reset();
  options_.objective = ErrorMeasure::kGuided;
  options_.guided_groups = 3;
  refused("choose another --guided-groups");
  options_.method.reset();
  options_.shrink_hessian = true;
  const auto files = model("tiny_llama");
  EXPECT_THROW(quantize(files, data(*files, 1), folder_ / "out"), Error);
}

}  // namespace
}  // namespace bitsmith
