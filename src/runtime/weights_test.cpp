#include "runtime/weights.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"

namespace bitsmith {
namespace {

const std::filesystem::path kTestData = BITSMITH_TESTDATA;

ModelWeights weights_of(const std::string& name) {
  return load_weights(*ModelFiles::open(kTestData / name), DensePrecision::kExact);
}

TEST(ModelWeights, NamedMatricesAreThePlansInItsOrder) {
  for (const char* name : {"tiny_llama", "families/tiny_bloom", "families/tiny_gpt2",
                           "families/tiny_mixtral", "families/tiny_phi3"}) {
    SCOPED_TRACE(name);
    const ModelWeights weights = weights_of(name);
    const std::vector<NamedMatrix> named = named_matrices(weights);
    std::vector<std::string> names, planned;
    for (const auto& [module, matrix] : named)
      names.push_back(
          concat(module, ".weight ", shape_string({matrix->out_features, matrix->in_features})));
    for (const PlannedTensor& tensor : planned_tensors(weights.plan)) {
      if (tensor.shape.size() == 2)
        planned.push_back(concat(tensor.name, " ", shape_string(tensor.shape)));
    }
    EXPECT_EQ(names, planned);
  }
}

TEST(ModelWeights, ATokenReadsTheMeanOfItsExperts) {
  const ModelWeights weights = weights_of("families/tiny_mixtral");
  uint64_t outside = 0, of_experts = 0;
  for (const auto& [name, matrix] : named_matrices(weights))
    (name.find(".experts.") == std::string::npos ? outside : of_experts) += matrix->bytes();
  if (!weights.plan.tied) outside -= weights.embedding->bytes();  // a token reads one row of it
  const ExpertsPlan& experts = *weights.plan.blocks.front().experts;
  EXPECT_EQ(bytes_per_token(weights),
            outside + of_experts * static_cast<uint64_t>(experts.experts_per_token) /
                          experts.experts.size());
}

}  // namespace
}  // namespace bitsmith
