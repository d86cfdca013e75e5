#include "compressor/objective/layer_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <limits>
#include <span>

#include "base/error.h"
#include "checkpoint/safetensors.h"

namespace bitsmith {
namespace {

class LayerFileTest : public testing::Test {
 protected:
  ~LayerFileTest() override { std::filesystem::remove(path_); }

  using Tensors = std::vector<std::pair<std::string, torch::Tensor>>;
  void write(const Tensors& tensors, DType dtype = DType::F32) const {
    std::vector<TensorView> views;
    for (const auto& [name, t] : tensors) {
      views.push_back(
          {name, dtype, t.sizes().vec(),
           std::as_bytes(std::span(t.const_data_ptr<float>(), static_cast<size_t>(t.numel())))});
    }
    write_safetensors(path_, views);
  }
  std::string refusal() const {
    try {
      read_layer_file(path_);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  void expect_refusal(const Tensors& tensors, const std::string& says) {
    write(tensors);
    EXPECT_NE(refusal().find(says), std::string::npos) << refusal();
    EXPECT_NE(refusal().find(path_.string()), std::string::npos) << refusal();
  }

  std::filesystem::path path_ = std::filesystem::temp_directory_path() /
                                concat("bitsmith_layer_file_test_", getpid(), ".safetensors");
  torch::Tensor weight_ = torch::randn({3, 2});
};

TEST_F(LayerFileTest, HoldsAnObjective) {
  LayerFile layer{weight_, torch::eye(2), torch::randn({2, 2})};
  for (const auto& output : {torch::Tensor(), torch::rand({3}), torch::eye(3) + 0.5}) {
    layer.objective.output_factor = output;
    write_layer_file(path_, layer);
    const LayerFile read = read_layer_file(path_);
    EXPECT_TRUE(torch::equal(read.weight, layer.weight));
    EXPECT_TRUE(torch::equal(read.cross, layer.cross));
    EXPECT_EQ(read.objective.error(weight_), layer.objective.error(weight_));
  }
  write({{"weight", weight_}});
  EXPECT_EQ(read_layer_file(path_).objective.error(weight_), Objective().error(weight_));
}

TEST_F(LayerFileTest, RefusesWhatDoesNotFit) {
  const auto h = torch::eye(2), ones = torch::ones({3});
  const auto nan = torch::full({3}, std::numeric_limits<float>::infinity());
  expect_refusal({{"hessian", h}}, "no tensor 'weight'");
  expect_refusal({{"weight", ones}}, "'weight' is not a matrix");
  expect_refusal({{"weight", weight_}, {"hessian", torch::eye(3)}},
                 "'hessian' has the shape [3, 3]");
  expect_refusal({{"weight", weight_}, {"row_weights", torch::ones({2})}},
                 "'row_weights' has the shape [2], expected [3]");
  expect_refusal({{"weight", weight_}, {"output_factor", torch::ones({3})}},
                 "'output_factor' has the shape [3], expected [3, 3]");
  expect_refusal({{"weight", weight_}, {"row_weights", nan}},
                 "'row_weights' holds NaN or infinity, first at [0]");
  expect_refusal({{"weight", weight_}, {"row_weights", -ones}}, "negative weight for row 0");
  expect_refusal({{"weight", weight_}, {"output_factor", torch::ones({3, 3}).triu()}},
                 "'output_factor' cannot be used");
  expect_refusal({{"weight", weight_}, {"row_weights", ones}, {"output_factor", torch::eye(3)}},
                 "'output_factor' are both there");
  expect_refusal({{"weight", weight_}, {"cross", h}}, "'cross' needs 'hessian'");
  write({{"weight", weight_}}, DType::I32);
  EXPECT_NE(refusal().find("'weight' has the data type"), std::string::npos) << refusal();
}

}  // namespace
}  // namespace bitsmith
