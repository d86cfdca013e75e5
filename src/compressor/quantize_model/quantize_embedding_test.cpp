// Embedding and head of whole models; their objective: outer_quantizer_test.cpp.
#include <algorithm>
#include <cmath>

#include "compressor/model/dense_tensor.h"
#include "compressor/quantize_model/test_quantize_model.h"

namespace bitsmith {
namespace {

class QuantizeEmbedding : public testing::QuantizeModelTest {};

TEST_F(QuantizeEmbedding, EmbeddingByBitsIsTheNearestAndNeedsNoText) {
  options_.method = Method::kRtn;
  for (const int bits : {8, 4}) {
    options_.embedding = {.bits = bits};
    const auto base = model("tiny_qwen3");
    EXPECT_FALSE(needs_calibration(*base, options_));
    const auto out = folder_ / std::to_string(bits);
    quantize(base, {}, out);
    const auto files = ModelFiles::open(out);
    for (const char* module : {"model.embed_tokens", "lm_head"}) {
      const QuantizedTensor stored = files->quantized(module);
      const int64_t kept = bits < 8 ? 3 : 0;  // the tokenizer's control tokens
      EXPECT_EQ(stored.spec, with_kept_rows(row_representation(bits, 32), kept));
      QuantizeOptions options = {.method = Method::kRtn};
      if (kept > 0) options.kept_rows = {0, 1, 2};
      const auto nearest =
          quantize_linear(read_matrix(*base, module, torch::kFloat32), {}, stored.spec, options)
              .representation->to_format();
      for (const TensorView& part : nearest.parts)
        EXPECT_TRUE(std::ranges::equal(part.bytes, stored.part(part.name).bytes)) << part.name;
    }
  }
}

// Tied and not: every representation, by its own method, also where an override asks for it.
TEST_F(QuantizeEmbedding, EmbeddingByAMethodKeepsRowsOfSpecialTokens) {
  options_.representation = parse_representation("int8g16");
  for (const char* name : {"tiny_llama", "tiny_qwen3"}) {
    for (const char* representation : {"int4g16", "aq1x4g8", "gvq2d2b-n256", "had-in:int3g16"}) {
      SCOPED_TRACE(concat(name, " ", representation));
      const auto base = model(name);
      options_.embedding = {.representation = parse_representation(representation)};
      EXPECT_TRUE(needs_calibration(*base, options_));
      const auto out = folder_ / "out";
      const QuantizeModelResult result = quantize(name, "out", /*force=*/true);
      const auto files = ModelFiles::open(out);
      std::vector<LinearPlan> outers = {base->plan().embedding};
      if (!base->plan().tied) outers.push_back(base->plan().head);
      for (const LinearPlan& outer : outers) {
        const QuantizedTensor stored = files->quantized(outer.name);
        EXPECT_EQ(kept_rows(stored.spec), 3);  // the tokenizer's control tokens
        EXPECT_EQ(read_kept_rows(stored), (std::vector<int64_t>{0, 1, 2}));
        QuantizedTensor codes = stored;
        codes.spec = with_kept_rows(codes.spec, 0);
        const auto first = [](const torch::Tensor& rows) { return rows.narrow(0, 0, 3); };
        const auto want = first(read_matrix(*base, outer.name, torch::kFloat32)),
                   got = first(decode_matrix(stored, torch::kFloat32)),
                   rest = first(decode_matrix(codes, torch::kFloat32));
        // What the codes leave is rounded to 16 bits; a rotation sums float32.
        const double tolerance = std::ldexp((want - rest).norm().item<double>(), -11) +
                                 1e-6 * want.norm().item<double>();
        EXPECT_LT((got - want).norm().item<double>(), tolerance + 1e-6);
      }
      int by_method = 0;
      for (const LinearSummary& linear : result.linears)
        by_method += is_outer_matrix(base->plan(), linear.module) && linear.method != "rtn";
      EXPECT_EQ(by_method, base->plan().tied ? 1 : 2);
    }
  }
  options_.embedding = {};
  options_.overrides = {{"lm_head", parse_representation("gvq2d2b-n256")}};
  const QuantizeModelResult result = quantize("tiny_qwen3", "override");
  EXPECT_EQ(result.linears.back().module, "lm_head");
  EXPECT_EQ(result.linears.back().method, "gptvq");
  EXPECT_FALSE(ModelFiles::open(folder_ / "override")->spec("model.embed_tokens"));
}

// Blocks that stay dense run too, and a head of enough bits needs no rows of its own.
TEST_F(QuantizeEmbedding, OnlyTheHead) {
  options_.keep = {"layers"};
  options_.embedding = {.representation = parse_representation("int8g16")};
  const QuantizeModelResult result = quantize("tiny_qwen3", "out");
  ASSERT_EQ(result.linears.size(), 2u);
  EXPECT_EQ(result.linears[0].representation, "int8g16");
  options_.keep = {};
  options_.stop_after_blocks = 1;
  quantize("tiny_qwen3", "one");
  const auto files = ModelFiles::open(folder_ / "one");
  EXPECT_TRUE(files->spec("lm_head"));
  EXPECT_FALSE(files->spec("model.layers.1.mlp.up_proj"));
}

}  // namespace
}  // namespace bitsmith
