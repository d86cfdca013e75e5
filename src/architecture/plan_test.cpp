#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "architecture/checkpoint.h"
#include "architecture/test_models.h"

namespace bitsmith {
namespace {

using testing::error_of;
using testing::small_config;

const std::filesystem::path kFamilies = std::filesystem::path(BITSMITH_TESTDATA) / "families";

ModelPlan parse(const Json& config) { return plan_model(config, "config.json"); }

// small_config with some keys replaced.
Json with(const std::string& model_type, const Json& changes) {
  Json config = small_config(model_type);
  config.update(changes);
  return config;
}

void expect_config_error(const Json& config, const std::string& part) {
  const std::string message = error_of([&] { parse(config); });
  EXPECT_EQ(message.rfind("config.json", 0), 0u) << part << ": " << message;
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

std::vector<int64_t> windows(const Json& config) {
  std::vector<int64_t> result;
  for (const BlockPlan& block : parse(config).blocks) result.push_back(block.attention.window);
  return result;
}

std::string norm_text(const NormPlan& norm) {
  const char* kinds[] = {"rms", "rms+1", "layer"};
  return norm.exists() ? concat(kinds[static_cast<int>(norm.kind)], " ", norm.eps) : "none";
}

std::string rope_text(const RopePlan& rope) {
  std::string text = concat("rope ", rope.dims, " of ", rope.theta);
  const char* kinds[] = {"", "linear", "dynamic", "llama3", "yarn", "longrope"};
  if (rope.scaling == RopePlan::Scaling::kNone) return text;
  return concat(text, " ", kinds[static_cast<int>(rope.scaling)], " ", rope.factor, " from ",
                rope.trained_context, " times ", rope.attention_factor);
}

// What a block does, and in what order.
std::string block_text(const ModelPlan& plan, const BlockPlan& block) {
  const AttentionPlan& a = block.attention;
  const char* orders[] = {"q, k, v", "qkv", "qkv by head"};
  std::string text = concat("attention: ", norm_text(block.attention_norm), ", ",
                            orders[static_cast<int>(a.order)], ", ", a.heads, "/", a.kv_heads,
                            " x ", a.head_dim, ", scale ", a.scale);
  if (a.q_norm.exists()) text += concat(", q/k ", norm_text(a.q_norm), " of ", a.q_norm.size);
  if (a.rope >= 0) text += ", " + rope_text(plan.ropes[static_cast<size_t>(a.rope)]);
  if (a.alibi) text += ", alibi";
  if (a.window > 0) text += concat(", window ", a.window);
  if (a.soft_cap > 0) text += concat(", cap ", a.soft_cap);
  text += concat(", then ", norm_text(block.attention_output_norm),
                 block.parallel ? "; beside it " : "; ", norm_text(block.mlp_norm), ", ");
  const auto mlp_text = [](const MlpPlan& mlp) {
    return concat(mlp.gated ? "gated " : "", activation_name(mlp.activation), " ", mlp.width);
  };
  if (block.mlp) text += mlp_text(*block.mlp);
  if (block.experts)
    text += concat(block.experts->used, " of ", block.experts->experts.size(),
                   block.experts->normalize ? " normalized " : " ",
                   mlp_text(block.experts->experts.back()));
  return concat(text, ", then ", norm_text(block.mlp_output_norm));
}

std::string plan_text(const ModelPlan& plan) {
  std::string text = concat(plan.vocab_size, " x ", plan.hidden_size, ", context ", plan.context,
                            plan.tied ? ", tied" : "");
  if (plan.embedding_scale != 1) text += concat(", times ", plan.embedding_scale);
  if (plan.positions.out_features > 0)
    text += concat(", positions from ", plan.position_offset, " of ", plan.positions.out_features);
  if (plan.embedding_norm.exists()) text += ", then " + norm_text(plan.embedding_norm);
  text += "; last " + norm_text(plan.final_norm);
  if (plan.logit_soft_cap > 0) text += concat(", cap ", plan.logit_soft_cap);
  for (const BlockPlan& block : plan.blocks) text += "\n" + block_text(plan, block);
  return text;
}

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
  EXPECT_EQ(biases(with("llama", both)), "bbbbbbb");
  EXPECT_EQ(biases(with("qwen2", both)), "bbb----");
  EXPECT_EQ(biases(with("qwen3", both)), "bbbb---");
  EXPECT_EQ(biases(with("mistral", both)), "-------");
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

TEST(ModelPlanTest, SlidingWindows) {
  using Windows = std::vector<int64_t>;
  EXPECT_EQ(windows(with("llama", {{"sliding_window", 4}})), Windows({0, 0}));
  EXPECT_EQ(windows(with("mistral", {{"sliding_window", 4}})), Windows({4, 4}));
  EXPECT_EQ(windows(with("mistral", {{"sliding_window", nullptr}})), Windows({0, 0}));
  EXPECT_EQ(windows(small_config("mistral")), Windows({4096, 4096}));
  const Json window = {{"sliding_window", 4}, {"max_window_layers", 1}};
  EXPECT_EQ(windows(with("qwen2", window)), Windows({0, 0}));
  Json used = window;
  used["use_sliding_window"] = true;
  EXPECT_EQ(windows(with("qwen2", used)), Windows({0, 4}));
  EXPECT_EQ(windows(with("qwen3", used)), Windows({0, 4}));
  EXPECT_EQ(windows(with("qwen3_moe", used)), Windows({4, 4}));
  used["layer_types"] = {"sliding_attention", "full_attention"};
  EXPECT_EQ(windows(with("qwen2", used)), Windows({4, 0}));
  EXPECT_EQ(windows(with("gemma2", used)), Windows({4, 0}));
  used["layer_types"] = {"full_attention"};
  expect_config_error(with("qwen2", used), "layer_types");
  used["layer_types"] = {"full_attention", "linear_attention"};
  expect_config_error(with("qwen3", used), "linear_attention");

  const Json mixed = {{"sliding_window", 4},
                      {"layer_types", {"full_attention", "sliding_attention"}}};
  EXPECT_EQ(windows(with("mistral", mixed)), Windows({0, 4}));
  EXPECT_EQ(windows(with("phi3", mixed)), Windows({0, 4}));
  Json no_window = mixed;
  no_window["sliding_window"] = nullptr;
  expect_config_error(with("mistral", no_window), "needs a sliding_window");
  expect_config_error(with("llama", mixed),
                      "'sliding_attention' of layer 1 needs a sliding_window");
  const Json full = {{"layer_types", {"full_attention", "full_attention"}}};
  EXPECT_EQ(windows(with("llama", full)), Windows({0, 0}));
  EXPECT_EQ(windows(with("mistral", full)), Windows({0, 0}));
}

// rope_theta and rope_scaling, and rope_parameters, without those keys of small_config.
Json with_rope(const Json& changes, const char* model_type = "llama") {
  Json config = small_config(model_type);
  config.erase("rope_theta");
  config.update(changes);
  return config;
}

TEST(ModelPlanTest, RopeSettings) {
  const Json llama3 = {{"rope_type", "llama3"},
                       {"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 8192}};
  Json inside = llama3;
  inside["rope_theta"] = 500000;
  Json longrope = {{"type", "su"}, {"short_factor", {1, 1, 1, 1}}, {"long_factor", {2, 2, 2, 2}}};
  longrope["original_max_position_embeddings"] = 16;
  const struct {
    Json changes;
    const char* text;
  } cases[] = {
      {{{"rope_theta", 500000.0}, {"rope_scaling", llama3}},
       "rope 8 of 500000 llama3 8 from 8192 times 1"},
      {{{"rope_parameters", inside}}, "rope 8 of 500000 llama3 8 from 8192 times 1"},
      {{{"rope_parameters", inside}, {"rope_scaling", llama3}, {"rope_theta", 5e5}},
       "rope 8 of 500000 llama3 8 from 8192 times 1"},
      {{{"rope_scaling", nullptr}}, "rope 8 of 10000"},
      {{{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 5e5}}}}, "rope 8 of 500000"},
      {{{"rope_scaling", {{"type", "dynamic"}, {"factor", 2}}}},
       "rope 8 of 10000 dynamic 2 from 64 times 1"},
      {{{"rope_scaling",
         {{"type", "yarn"}, {"factor", nullptr}, {"original_max_position_embeddings", 16}}},
        {"original_max_position_embeddings", 32}},  // which counts for Phi-3 only
       "rope 8 of 10000 yarn 4 from 16 times 1.13863"},
      {{{"rope_scaling", {{"type", "linear"}, {"factor", 2}}},
        {"rope_parameters", {{"factor", 2.0}, {"rope_theta", 5e5}}}},
       "rope 8 of 500000 linear 2 from 0 times 1"},
      {{{"rope_scaling", {{"type", "yarn"}, {"factor", 2}, {"attention_factor", 3}}}},
       "rope 8 of 10000 yarn 2 from 64 times 3"},
      {{{"rope_scaling", longrope}}, "rope 8 of 10000 longrope 4 from 16 times 1.22474"},
  };
  for (const auto& one : cases)
    EXPECT_EQ(rope_text(parse(with_rope(one.changes)).ropes[0]), one.text) << one.changes;

  // Phi-3 has the trained context beside the settings; what they say does not count.
  Json phi3 = with_rope({{"rope_scaling", longrope}, {"max_position_embeddings", 8192}}, "phi3");
  EXPECT_EQ(parse(phi3).ropes[0].trained_context, 4096);
  phi3["original_max_position_embeddings"] = 64;
  EXPECT_EQ(parse(phi3).ropes[0].trained_context, 64);
  longrope.erase("original_max_position_embeddings");
  EXPECT_EQ(rope_text(parse(with_rope({{"rope_scaling", longrope}})).ropes[0]),
            "rope 8 of 10000 longrope 1 from 64 times 1");
}

TEST(ModelPlanTest, RotaryShareOfAHead) {
  const auto dims = [](int64_t head_dim, double share) {
    return parse(with("phi3", {{"head_dim", head_dim}, {"partial_rotary_factor", share}}))
        .ropes[0]
        .dims;
  };
  EXPECT_EQ(dims(100, 0.58), 58);  // the product is 57.99999999999999
  EXPECT_EQ(dims(10, 0.87), 8);
  EXPECT_EQ(dims(98, 54.0 / 98), 54);
}

TEST(ModelPlanTest, ContradictionsAndImpossibleRopeSettings) {
  const auto scaling = [](const Json& value) { return with_rope({{"rope_scaling", value}}); };
  expect_config_error(scaling({{"rope_type", "ntk"}, {"factor", 2}}), "'ntk' is not supported");
  expect_config_error(scaling({{"rope_type", "longrope"}}), "'short_factor' is missing");
  expect_config_error(scaling({{"rope_type", "yarn"}, {"original_max_position_embeddings", 0}}),
                      "'original_max_position_embeddings' of the rope settings is 0");
  expect_config_error(scaling({{"rope_type", "longrope"},
                               {"original_max_position_embeddings", 16},
                               {"short_factor", {1, 1, 1, 1}},
                               {"long_factor", {1}}}),
                      "'long_factor' has 1 values for 4 pairs");
  expect_config_error(scaling({{"rope_type", "linear"}}), "'factor' is missing");
  expect_config_error(scaling({{"factor", 4}}), "'rope_type' is missing");
  expect_config_error(scaling({{"rope_type", "linear"}, {"factor", -1}}), "'factor'");
  expect_config_error(scaling({{"rope_type", "yarn"}, {"beta_fast", 0}}), "'beta_fast'");
  expect_config_error(scaling({{"rope_type", "yarn"}, {"rope_theta", 1}}), "'rope_theta' is 1");
  expect_config_error(scaling({{"full_attention", {{"type", "linear"}}}}),
                      "differs between layers");
  expect_config_error(scaling("linear"), "not an object");
  const Json linear = {{"rope_type", "linear"}, {"factor", 2}};
  expect_config_error(with_rope({{"rope_scaling", linear},
                                 {"rope_parameters", {{"rope_type", "dynamic"}, {"factor", 2}}}}),
                      "'rope_type' is \"linear\" in 'rope_scaling' and \"dynamic\" in "
                      "'rope_parameters'");
  expect_config_error(with_rope({{"rope_scaling", linear},
                                 {"rope_parameters", {{"rope_type", "linear"}, {"factor", 4}}}}),
                      "'factor' is 2 in 'rope_scaling' and 4 in 'rope_parameters'");
  expect_config_error(with_rope({{"rope_theta", 5}, {"rope_parameters", {{"rope_theta", 6}}}}),
                      "'rope_theta' is 5 beside the rope settings and 6 in them");
  expect_config_error(with_rope({{"rope_parameters", {{"rope_theta", 5}}}}, "gemma3_text"),
                      "for each type of layer");
  expect_config_error(with("llama", {{"partial_rotary_factor", 0.5}}), "partial_rotary_factor");
  for (const char* type : {"full_attention", "sliding_attention"})
    expect_config_error(
        with_rope({{"rope_parameters", {{type, {{"partial_rotary_factor", 0.5}}}}}}, "gemma3_text"),
        "partial_rotary_factor");
  expect_config_error(with("phi3", {{"partial_rotary_factor", 0.1}}), "'partial_rotary_factor'");
}

TEST(ModelPlanTest, ImpossibleConfigurationsAreErrors) {
  expect_config_error(Json::array(), "not a JSON object");
  expect_config_error(Json::object(), "'model_type' is missing");
  for (const char* known : {"'mamba' is not supported", "Llama", "Qwen2", "Mixtral", "GPT-NeoX"})
    expect_config_error(small_config("mamba"), known);
  expect_config_error({{"model_type", "gemma3"}, {"text_config", Json::object()}},
                      "only text models are read, as gemma3_text (Gemma 3 of 270M and 1B)");
  const struct {
    const char* family;
    Json changes;
    const char* message;
  } cases[] = {
      {"llama", {{"hidden_act", "gelu"}}, "'gelu'"},
      {"llama", {{"hidden_act", "mish"}}, "'mish' is not supported"},
      {"llama", {{"hidden_size", 0}}, "'hidden_size'"},
      {"llama", {{"hidden_size", "32"}}, "'hidden_size'"},
      {"llama", {{"hidden_size", 1e99}}, "'hidden_size'"},
      {"llama", {{"vocab_size", -5}}, "'vocab_size'"},
      {"llama", {{"num_hidden_layers", 1000000000}}, "'num_hidden_layers'"},
      {"llama", {{"num_key_value_heads", 3}}, "evenly"},
      {"llama", {{"head_dim", 7}}, "even"},
      {"llama", {{"head_dim", nullptr}, {"hidden_size", 30}}, "hidden_size 30"},
      {"llama", {{"rms_norm_eps", 0.0}}, "'rms_norm_eps'"},
      {"llama", {{"intermediate_size", nullptr}}, "'intermediate_size'"},
      {"llama", {{"tie_word_embeddings", 1}}, "'tie_word_embeddings'"},
      {"llama", {{"eos_token_id", "</s>"}}, "'eos_token_id'"},
      {"llama", {{"hidden_size", 1 << 24}, {"intermediate_size", 1 << 24}}, "weights"},
      {"mixtral", {{"num_local_experts", 1}}, "'num_experts_per_tok'"},
      {"mixtral", {{"num_local_experts", 4096}, {"num_hidden_layers", 100}}, "'num_local_experts'"},
      {"qwen3_moe", {{"num_experts", 1 << 20}}, "'num_experts'"},
      {"qwen3_moe", {{"mlp_only_layers", "all"}}, "'mlp_only_layers'"},
      {"bloom", {{"n_head", 5}}, "5 attention heads"},
      {"bloom", {{"apply_residual_connection_post_layernorm", true}}, "not supported"},
      {"gemma2", {{"sliding_window", 0}}, "'sliding_window'"},
      {"gemma3_text", {{"use_bidirectional_attention", true}}, "'use_bidirectional_attention'"},
      {"gpt2", {{"scale_attn_by_inverse_layer_idx", true}}, "not supported"},
      {"opt", {{"ffn_dim", 8}, {"do_layer_norm_before", false}}, "'do_layer_norm_before' is false"},
      {"opt", {{"ffn_dim", 8}, {"word_embed_proj_dim", 16}}, "'word_embed_proj_dim' is 16"},
      {"gpt_neox", {{"rotary_pct", 2}}, "'rotary_pct' is 2"},
  };
  for (const auto& one : cases) expect_config_error(with(one.family, one.changes), one.message);
}

TEST(RopeTest, PlainAndLinear) {
  const RopePlan plain = {.dims = 8};
  const RopePlan linear = {.scaling = RopePlan::Scaling::kLinear, .dims = 8, .factor = 4.0};
  const auto a = rope_inverse_frequencies(plain, 10), b = rope_inverse_frequencies(linear, 10);
  ASSERT_EQ(a.size(), 4u);
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_NEAR(a[i], 1 / std::pow(10000.0, static_cast<double>(i) / 4), 1e-15);
    EXPECT_DOUBLE_EQ(b[i], a[i] / 4);
  }
}

TEST(RopeTest, DynamicGrowsOnlyBeyondTheTrainedContext) {
  const RopePlan plain = {.dims = 8};
  const RopePlan dynamic = {
      .scaling = RopePlan::Scaling::kDynamic, .dims = 8, .factor = 2.0, .trained_context = 64};
  const auto base = rope_inverse_frequencies(plain, 1);
  EXPECT_EQ(rope_length_class(dynamic, 3), rope_length_class(dynamic, 64));
  EXPECT_NE(rope_length_class(dynamic, 65), rope_length_class(dynamic, 64));
  EXPECT_EQ(rope_inverse_frequencies(dynamic, 1), base);
  EXPECT_EQ(rope_inverse_frequencies(dynamic, 64), base);
  const auto longer = rope_inverse_frequencies(dynamic, 128);
  EXPECT_DOUBLE_EQ(longer[0], 1.0);
  // At twice the context and factor 2 the base is 3^(8/6) times larger.
  EXPECT_NEAR(longer[3], std::pow(10000.0 * std::pow(3.0, 8.0 / 6), -0.75), 1e-12);
}

TEST(RopeTest, Llama3KeepsShortWavesAndStretchesLongOnes) {
  const RopePlan plain = {.dims = 64, .theta = 5e5};
  RopePlan scaled = plain;
  scaled.scaling = RopePlan::Scaling::kLlama3;
  scaled.factor = 8.0;
  scaled.trained_context = 8192;
  const auto a = rope_inverse_frequencies(plain, 1), b = rope_inverse_frequencies(scaled, 1);
  int kept = 0, stretched = 0, between = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double wavelength = 2 * std::numbers::pi / a[i];
    const double divisor = a[i] / b[i];
    if (wavelength < 8192 / 4.0) {
      EXPECT_DOUBLE_EQ(divisor, 1.0);
      ++kept;
    } else if (wavelength > 8192) {
      EXPECT_DOUBLE_EQ(divisor, 8.0);
      ++stretched;
    } else {
      EXPECT_GT(divisor, 1.0);
      EXPECT_LT(divisor, 8.0);
      ++between;
    }
  }
  EXPECT_TRUE(kept > 0 && stretched > 0 && between > 0);
}

TEST(RopeTest, YarnKeepsFastPairsAndSlowsSlowOnes) {
  const RopePlan plain = {.dims = 64};
  RopePlan yarn = plain;
  yarn.scaling = RopePlan::Scaling::kYarn;
  yarn.factor = 4.0;
  yarn.trained_context = 4096;
  const auto a = rope_inverse_frequencies(plain, 1), b = rope_inverse_frequencies(yarn, 1);
  // Pairs turn more than 32 times over 4096 positions up to 10, less than once from 23 on.
  for (const size_t pair : {0, 5, 10}) EXPECT_DOUBLE_EQ(b[pair], a[pair]) << pair;
  EXPECT_GT(b[15], a[15] / 4);
  EXPECT_LT(b[15], a[15]);
  for (const size_t pair : {23, 31}) EXPECT_DOUBLE_EQ(b[pair], a[pair] / 4) << pair;
}

TEST(RopeTest, LongRopeHasOtherDivisorsBeyondTheTrainedContext) {
  RopePlan rope = {.scaling = RopePlan::Scaling::kLongRope, .dims = 4, .trained_context = 32};
  rope.short_factors = {1, 2};
  rope.long_factors = {4, 8};
  const auto near = rope_inverse_frequencies(rope, 32), far = rope_inverse_frequencies(rope, 33);
  for (size_t i = 0; i < 2; ++i) EXPECT_DOUBLE_EQ(near[i], 4 * far[i]);
  EXPECT_EQ(rope_length_class(rope, 1), rope_length_class(rope, 32));
  EXPECT_EQ(rope_length_class(rope, 33), rope_length_class(rope, 1000));
  EXPECT_NE(rope_length_class(rope, 32), rope_length_class(rope, 33));
}

}  // namespace
}  // namespace bitsmith
