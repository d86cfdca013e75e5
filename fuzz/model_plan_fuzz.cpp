// Any bytes as a config.json: an Error, or a plan of bounded size whose tensors, sites and
// frequencies can be listed.
#include "architecture/family.h"
#include "base/error.h"

namespace {

using namespace bitsmith;

void walk(const ModelPlan& plan) {
  double weights = 0;
  for (const PlannedTensor& tensor : planned_tensors(plan)) {
    double elements = 1;
    for (const int64_t size : tensor.shape) {
      BITSMITH_CHECK(size > 0);
      elements *= static_cast<double>(size);
    }
    BITSMITH_CHECK(!tensor.name.empty());
    weights += elements;
  }
  BITSMITH_CHECK(weights < 0x1p62);  // sums of bytes stay in int64
  for (const BlockPlan& block : plan.blocks) {
    const AttentionPlan& attention = block.attention;
    BITSMITH_CHECK(attention.heads % attention.kv_heads == 0 && attention.head_dim > 0);
    BITSMITH_CHECK(attention.rope < static_cast<int>(plan.ropes.size()));
    BITSMITH_CHECK(block.mlp.has_value() != block.experts.has_value());
    for (const Site& site : sites(block))
      for (const LinearPlan* linear : site.linears)
        BITSMITH_CHECK(linear->in_features == site.features);
  }
  BITSMITH_CHECK(!quantizable_matrices(plan).empty());
  for (const RopePlan& rope : plan.ropes) {
    BITSMITH_CHECK(rope.dims >= 2 && rope.dims % 2 == 0);
    if (rope.dims > 4096) continue;  // only slow
    for (const int64_t length : {int64_t{1}, rope.trained_context + 1})
      for (const double frequency : rope_inverse_frequencies(rope, length))
        BITSMITH_CHECK(frequency >= 0);  // not NaN
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    walk(plan_model(parse_json(text, "fuzz"), "fuzz"));
  } catch (const Error&) {
  }
  return 0;
}
