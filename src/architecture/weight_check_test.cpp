#include "architecture/weight_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "architecture/test_models.h"
#include "base/error.h"

namespace bitsmith {
namespace {

using testing::random_model;
using testing::small_config;
using testing::TestFolder;
using testing::TestModel;

constexpr const char* kMatrix = "model.layers.1.mlp.up_proj.weight";  // [48, 32]

// What check_weights() says where every matrix but the embeddings is to be quantized.
std::string said(const TestModel& model) {
  const TestFolder folder;
  model.write(folder.path());
  const auto checkpoint = Checkpoint::open(folder.path());
  try {
    check_weights(*checkpoint, {.threads = 2},
                  [](const std::string& name) { return name.ends_with("_proj.weight"); });
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(WeightCheck, NamesTensorAndIndexOfWhatIsNotFinite) {
  const TestModel good = random_model(small_config("llama"));
  EXPECT_EQ(said(good), "");
  const float infinity = std::numeric_limits<float>::infinity();
  for (const char* name : {kMatrix, "model.embed_tokens.weight", "model.norm.weight",
                           "model.layers.0.input_layernorm.weight", "lm_head.weight"}) {
    for (const float value : {std::nanf(""), infinity, -infinity, 1e38f}) {
      TestModel bad = good;
      bad.tensors[name][5] = value;
      const std::string message = said(bad);
      EXPECT_NE(message.find(name), std::string::npos) << message;
      EXPECT_NE(message.find(bad.shapes[name].size() == 1 ? "[5]" : "[0, 5]"), std::string::npos)
          << message;
    }
  }
  TestModel bad = good;
  bad.tensors[kMatrix][40 * 32 + 31] = std::nanf("");
  EXPECT_NE(said(bad).find("NaN at [40, 31]"), std::string::npos);
}

TEST(WeightCheck, QuantizedMatricesMustFitHalfScales) {
  TestModel model = random_model(small_config("llama"));
  model.tensors["lm_head.weight"][7] = 1e5f;
  EXPECT_EQ(said(model), "");
  model.tensors[kMatrix][7] = 1e5f;
  EXPECT_NE(said(model).find("keep this matrix dense"), std::string::npos);
  for (float& value : model.tensors[kMatrix]) value = 1e-7f;
  EXPECT_NE(said(model).find("no value above 1e-07"), std::string::npos);
  for (float& value : model.tensors[kMatrix]) value = 0;  // a matrix of zeros has no scale to lose
  EXPECT_EQ(said(model), "");
}

TEST(WeightCheck, TensorsThatNobodyUsesMayHoldAnything) {
  TestModel model = random_model(small_config("llama"));
  model.tensors["extra.weight"] = {std::nanf("")};
  model.shapes["extra.weight"] = {1};
  const TestFolder folder;
  model.write(folder.path());
  const auto checkpoint = Checkpoint::open(folder.path());
  EXPECT_NO_THROW(check_weights(*checkpoint, {}, [](const std::string&) { return false; }));
}

}  // namespace
}  // namespace bitsmith
