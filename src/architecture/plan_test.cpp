#include <gtest/gtest.h>

#include "architecture/checkpoint.h"
#include "architecture/plan_text.h"
#include "architecture/test_models.h"

namespace bitsmith {
namespace {

using testing::parse;
using testing::plan_text;
using testing::small_config;

const std::filesystem::path kFamilies = std::filesystem::path(BITSMITH_TESTDATA) / "families";

// "NAME [SHAPE]" of every tensor, in order, with what is not plain: "T" transposed in Hugging Face
// files; "=" the name in GGUF files, where "~" are interleaved heads, "+1" one more, "qkv" apart.
std::string tensors_text(const ModelPlan& plan) {
  const char* marks[] = {"", "T", "~", "+1", "qkv"};
  std::string text;
  for (const PlannedTensor& tensor : planned_tensors(plan)) {
    text += concat(tensor.name, " ", shape_string(tensor.shape),
                   marks[static_cast<int>(tensor.stored)]);
    if (!tensor.gguf.empty())
      text += concat(" = ", tensor.gguf, marks[static_cast<int>(tensor.gguf_stored)]);
    if (tensor.gguf_index >= 0) text += concat(" #", tensor.gguf_index);
    text += "\n";
  }
  return text;
}

// Configurations with the keys that must be there: the rest are transformers' defaults.
struct FamilyCase {
  const char* config;
  const char* plan;     // plan_text()
  const char* tensors;  // lines of tensors_text(), those that are not plain to be guessed
};

const FamilyCase kCases[] = {
    {R"({"model_type": "phi3", "vocab_size": 10, "hidden_size": 32, "intermediate_size": 48,
         "num_hidden_layers": 1, "num_attention_heads": 4})",
     "10 x 32, context 4096; last rms 1e-05\n"
     "attention: rms 1e-05, qkv, 4/4 x 8, scale 0.353553, rope 8 of 10000, then none; rms 1e-05, "
     "gated silu 48, then none",
     R"(model.layers.0.input_layernorm.weight [32] = blk.0.attn_norm.weight
model.layers.0.post_attention_layernorm.weight [32] = blk.0.ffn_norm.weight
model.layers.0.self_attn.qkv_proj.weight [96, 32] = blk.0.attn_qkv.weight
model.layers.0.mlp.gate_up_proj.weight [96, 32] = blk.0.ffn_up.weight
lm_head.weight [10, 32] = output.weight
)"},
    {R"({"model_type": "mixtral", "vocab_size": 10, "hidden_size": 64, "intermediate_size": 48,
         "num_hidden_layers": 1, "num_attention_heads": 16})",
     "10 x 64, context 131072; last rms 1e-05\n"
     "attention: rms 1e-05, q, k, v, 16/8 x 4, scale 0.5, rope 4 of 1e+06, then none; rms 1e-05, "
     "2 of 8 normalized gated silu 48, then none",
     R"(model.layers.0.self_attn.k_proj.weight [32, 64] = blk.0.attn_k.weight~
model.layers.0.self_attn.v_proj.weight [32, 64] = blk.0.attn_v.weight
model.layers.0.block_sparse_moe.gate.weight [8, 64] = blk.0.ffn_gate_inp.weight
model.layers.0.block_sparse_moe.experts.7.w1.weight [48, 64] = blk.0.ffn_gate_exps.weight #7
model.layers.0.block_sparse_moe.experts.7.w3.weight [48, 64] = blk.0.ffn_up_exps.weight #7
model.layers.0.block_sparse_moe.experts.7.w2.weight [64, 48] = blk.0.ffn_down_exps.weight #7
)"},
    {R"({"model_type": "qwen3_moe", "vocab_size": 10, "hidden_size": 32, "intermediate_size": 48,
         "num_hidden_layers": 2, "num_attention_heads": 4, "mlp_only_layers": [0],
         "num_local_experts": 9, "sliding_window": 8})",
     "10 x 32, context 32768; last rms 1e-06\n"
     "attention: rms 1e-06, q, k, v, 4/4 x 8, scale 0.353553, q/k rms 1e-06 of 8, rope 8 of 10000, "
     "then none; rms 1e-06, gated silu 48, then none\n"
     "attention: rms 1e-06, q, k, v, 4/4 x 8, scale 0.353553, q/k rms 1e-06 of 8, rope 8 of 10000, "
     "then none; rms 1e-06, 8 of 9 gated silu 768, then none",
     R"(model.layers.1.self_attn.q_proj.weight [32, 32] = blk.1.attn_q.weight
model.layers.0.mlp.down_proj.weight [32, 48] = blk.0.ffn_down.weight
model.layers.1.mlp.gate.weight [9, 32] = blk.1.ffn_gate_inp.weight
model.layers.1.mlp.experts.8.down_proj.weight [32, 768] = blk.1.ffn_down_exps.weight #8
)"},
    {R"({"model_type": "bloom", "vocab_size": 10, "n_embed": 24, "hidden_size": 5, "n_layer": 1,
         "n_head": 3})",
     "10 x 24, context 2048, tied, then layer 1e-05; last layer 1e-05\n"
     "attention: layer 1e-05, qkv by head, 3/3 x 8, scale 0.353553, alibi, then none; layer 1e-05, "
     "gelu_tanh 96, then none",
     R"(transformer.word_embeddings_layernorm.bias [24] = token_embd_norm.bias
transformer.h.0.self_attention.query_key_value.weight [72, 24] = blk.0.attn_qkv.weightqkv
transformer.h.0.self_attention.query_key_value.bias [72] = blk.0.attn_qkv.biasqkv
transformer.h.0.mlp.dense_4h_to_h.weight [24, 96] = blk.0.ffn_down.weight
)"},
    {R"({"model_type": "gemma2", "vocab_size": 10, "hidden_size": 16, "intermediate_size": 48,
         "num_hidden_layers": 2, "num_attention_heads": 8})",
     "10 x 16, context 8192, tied, times 4; last rms+1 1e-06, cap 30\n"
     "attention: rms+1 1e-06, q, k, v, 8/4 x 256, scale 0.0625, rope 256 of 10000, window 4096, "
     "cap 50, then rms+1 1e-06; rms+1 1e-06, gated gelu_tanh 48, then rms+1 1e-06\n"
     "attention: rms+1 1e-06, q, k, v, 8/4 x 256, scale 0.0625, rope 256 of 10000, cap 50, "
     "then rms+1 1e-06; rms+1 1e-06, gated gelu_tanh 48, then rms+1 1e-06",
     R"(model.layers.0.post_attention_layernorm.weight [16] = blk.0.post_attention_norm.weight+1
model.layers.0.pre_feedforward_layernorm.weight [16] = blk.0.ffn_norm.weight+1
model.layers.0.post_feedforward_layernorm.weight [16] = blk.0.post_ffw_norm.weight+1
model.layers.0.self_attn.q_proj.weight [2048, 16] = blk.0.attn_q.weight
model.norm.weight [16] = output_norm.weight+1
)"},
    {R"({"model_type": "gemma3_text", "vocab_size": 10, "hidden_size": 16, "intermediate_size": 48,
         "num_hidden_layers": 2, "num_attention_heads": 8, "sliding_window_pattern": 2,
         "rope_scaling": {"type": "linear", "factor": 8}, "attn_logit_softcapping": 5})",
     "10 x 16, context 131072, tied, times 4; last rms+1 1e-06\n"
     "attention: rms+1 1e-06, q, k, v, 8/4 x 256, scale 0.0625, q/k rms+1 1e-06 of 256, "
     "rope 256 of 10000, window 4096, then rms+1 1e-06; rms+1 1e-06, gated gelu_tanh 48, "
     "then rms+1 1e-06\n"
     "attention: rms+1 1e-06, q, k, v, 8/4 x 256, scale 0.0625, q/k rms+1 1e-06 of 256, "
     "rope 256 of 1e+06 linear 8 from 0 times 1, then rms+1 1e-06; rms+1 1e-06, "
     "gated gelu_tanh 48, then rms+1 1e-06",
     R"(model.layers.0.self_attn.k_norm.weight [256] = blk.0.attn_k_norm.weight+1
)"},
    {R"({"model_type": "olmo2", "vocab_size": 10, "hidden_size": 32, "intermediate_size": 48,
         "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2})",
     "10 x 32, context 2048; last rms 1e-05\n"
     "attention: none, q, k, v, 4/2 x 8, scale 0.353553, q/k rms 1e-05 of 32, rope 8 of 10000, "
     "then rms 1e-05; none, gated silu 48, then rms 1e-05",
     R"(model.layers.0.self_attn.q_norm.weight [32] = blk.0.attn_q_norm.weight
model.layers.0.self_attn.k_norm.weight [16] = blk.0.attn_k_norm.weight
model.layers.0.post_attention_layernorm.weight [32] = blk.0.post_attention_norm.weight
model.layers.0.self_attn.q_proj.weight [32, 32] = blk.0.attn_q.weight
)"},
    {R"({"model_type": "gpt2", "vocab_size": 10, "n_embd": 16, "num_hidden_layers": 1, "n_head": 2,
         "n_positions": 40})",
     "10 x 16, context 40, tied, positions from 0 of 40; last layer 1e-05\n"
     "attention: layer 1e-05, qkv, 2/2 x 8, scale 0.353553, then none; layer 1e-05, gelu_tanh 64, "
     "then none",
     R"(transformer.wpe.weight [40, 16] = position_embd.weight
transformer.h.0.attn.c_attn.weight [48, 16]T = blk.0.attn_qkv.weight
transformer.h.0.attn.c_attn.bias [48] = blk.0.attn_qkv.bias
transformer.h.0.mlp.c_fc.weight [64, 16]T = blk.0.ffn_up.weight
)"},
    {R"({"model_type": "opt", "vocab_size": 10, "hidden_size": 16, "ffn_dim": 24,
         "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 40})",
     "10 x 16, context 40, tied, positions from 2 of 42; last layer 1e-05\n"
     "attention: layer 1e-05, q, k, v, 2/2 x 8, scale 0.353553, then none; layer 1e-05, relu 24, "
     "then none",
     R"(model.decoder.embed_positions.weight [42, 16]
model.decoder.layers.0.self_attn.q_proj.bias [16]
model.decoder.layers.0.final_layer_norm.weight [16]
model.decoder.final_layer_norm.bias [16]
)"},
    {R"({"model_type": "gpt_neox", "vocab_size": 10, "hidden_size": 32, "intermediate_size": 48,
         "num_hidden_layers": 1, "num_attention_heads": 2, "rotary_emb_base": 500})",
     "10 x 32, context 2048; last layer 1e-05\n"
     "attention: layer 1e-05, qkv by head, 2/2 x 16, scale 0.25, rope 4 of 500, "
     "then none; beside it layer 1e-05, gelu 48, then none",
     R"(gpt_neox.layers.0.attention.query_key_value.bias [96] = blk.0.attn_qkv.biasqkv
gpt_neox.layers.0.attention.dense.bias [32] = blk.0.attn_output.bias
embed_out.weight [10, 32] = output.weight
)"},
};

TEST(ModelPlanTest, Families) {
  for (const FamilyCase& family : kCases) {
    const ModelPlan plan = parse(parse_json(family.config, "config.json"));
    EXPECT_EQ(plan_text(plan), family.plan) << plan.model_type;
    const std::string all = "\n" + tensors_text(plan), wanted = family.tensors;
    for (size_t at = 0, end; at < wanted.size(); at = end + 1) {
      end = wanted.find('\n', at);
      const std::string line = "\n" + wanted.substr(at, end - at) + "\n";
      EXPECT_NE(all.find(line), std::string::npos) << line << all;
    }
  }
}

// Both spellings of config.json, and the keys of GGUF.
TEST(ModelPlanTest, EverySpellingIsTheSameModel) {
  for (const auto& entry : std::filesystem::directory_iterator(kFamilies)) {
    const std::string name = entry.path().filename();
    if (name == "tiny_opt_350m") continue;
    const auto plan = [&](const char* file) {
      return plan_model(read_json_file(entry.path() / file), name);
    };
    const ModelPlan first = plan("config.json"), second = plan("config_v5.json");
    EXPECT_EQ(plan_text(first), plan_text(second)) << name;
    EXPECT_EQ(tensors_text(first), tensors_text(second)) << name;
    EXPECT_EQ(first.ropes, second.ropes) << name;
    if (!std::filesystem::exists(entry.path() / "model.gguf")) continue;
    ModelPlan gguf = Checkpoint::open(entry.path() / "model.gguf")->plan();
    if (name == "tiny_gemma2")  // no key holds query_pre_attn_scalar, which is 24 there
      for (size_t b = 0; b < 2; ++b)
        gguf.blocks[b].attention.scale = first.blocks[b].attention.scale;
    EXPECT_EQ(plan_text(first), plan_text(gguf)) << name;
    EXPECT_EQ(tensors_text(first), tensors_text(gguf)) << name;
  }
}

TEST(ModelPlanTest, SitesShareAnInput) {
  const auto text = [](const char* family) {
    std::string result;
    const ModelPlan plan = parse(read_json_file(kFamilies / family / "config.json"));
    for (const Site& site : sites(plan.blocks.back())) {
      result += concat(site_name(site), " ", site.features, ":");
      for (const LinearPlan* linear : site.linears)
        result += linear->name.substr(linear->name.rfind('.'));
      result += "; ";
    }
    return result;
  };
  EXPECT_EQ(text("tiny_olmo2"),
            "attention input 32:.q_proj.k_proj.v_proj; attention output 32:.o_proj; "
            "mlp input 32:.gate_proj.up_proj; mlp down 64:.down_proj; ");
  EXPECT_EQ(text("tiny_phi3"),
            "attention input 32:.qkv_proj; attention output 32:.o_proj; "
            "mlp input 32:.gate_up_proj; mlp down 48:.down_proj; ");
  EXPECT_EQ(text("tiny_gpt_neox"),
            "attention input 32:.query_key_value; attention output 32:.dense; "
            "mlp input 32:.dense_h_to_4h; mlp down 64:.dense_4h_to_h; ");
  const std::string experts = text("tiny_mixtral");
  EXPECT_NE(experts.find("mlp input of expert 3 32:.w1.w3; mlp down of expert 3 16:.w2; "),
            std::string::npos)
      << experts;
  const ModelPlan plan = parse(read_json_file(kFamilies / "tiny_mixtral" / "config.json"));
  for (const LinearPlan& matrix : quantizable_matrices(plan))
    EXPECT_FALSE(matrix.name.ends_with("gate")) << "a router is not quantized";
}

TEST(ModelPlanTest, BiasesOfLlamasKin) {
  const auto biases = [](const Json& config) {
    std::string text;
    for (const LinearPlan* linear : linears(parse(config).blocks[0]))
      text += linear->bias ? "b" : "-";
    return text;
  };
  const Json both = {{"attention_bias", true}, {"mlp_bias", true}};
  EXPECT_EQ(biases(small_config("llama")), "-------");
  EXPECT_EQ(biases(small_config("llama", both)), "bbbbbbb");
  EXPECT_EQ(biases(small_config("qwen2", both)), "bbb----");
  EXPECT_EQ(biases(small_config("qwen3", both)), "bbbb---");
  EXPECT_EQ(biases(small_config("mistral", both)), "-------");
}

TEST(ModelPlanTest, DefaultsOfLlamasKin) {
  Json config = small_config("llama");
  for (const char* key : {"head_dim", "num_key_value_heads", "max_position_embeddings",
                          "rms_norm_eps", "rope_theta", "tie_word_embeddings", "eos_token_id"}) {
    config.erase(key);
  }
  config["num_hidden_layers"] = 1;
  const ModelPlan llama = parse(config);
  EXPECT_EQ(plan_text(llama),
            "20 x 32, context 2048; last rms 1e-06\n"
            "attention: rms 1e-06, q, k, v, 4/4 x 8, scale 0.353553, rope 8 of 10000, then none; "
            "rms 1e-06, gated silu 48, then none");
  EXPECT_EQ(llama.bos_token_id, 1);
  EXPECT_EQ(llama.eos_token_ids, std::vector<int64_t>{2});
  config["model_type"] = "qwen3";
  config["num_key_value_heads"] = nullptr;
  const ModelPlan qwen3 = parse(config);
  EXPECT_EQ(qwen3.blocks[0].attention.head_dim, 128);
  EXPECT_EQ(qwen3.blocks[0].attention.kv_heads, 4);
  EXPECT_EQ(qwen3.bos_token_id, -1);
  EXPECT_TRUE(qwen3.eos_token_ids.empty());
  config["eos_token_id"] = {7, 9};
  EXPECT_EQ(parse(config).eos_token_ids, (std::vector<int64_t>{7, 9}));
}

}  // namespace
}  // namespace bitsmith
