#include "architecture/checkpoint.h"

#include <gtest/gtest.h>

#include "architecture/model_size.h"
#include "architecture/test_models.h"
#include "base/half.h"
#include "checkpoint/gguf.h"

namespace bitsmith {
namespace {

using testing::error_of;
using testing::random_model;
using testing::small_config;
using testing::TestFolder;
using testing::TestModel;
using testing::to_gguf;

void expect_same_values(const Checkpoint& checkpoint, const TestModel& model) {
  for (const auto& [name, values] : model.tensors) {
    EXPECT_EQ(checkpoint.read(name), values) << name;
    EXPECT_EQ(checkpoint.at(name).shape, model.shapes.at(name)) << name;
  }
}

void expect_contains(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST(CheckpointTest, OneFileAndShardsAreTheSameModel) {
  const TestFolder folder;
  const TestModel model = random_model(small_config("qwen2"));
  model.write(folder.path() / "one");
  model.write(folder.path() / "shards", 5000);
  const auto one = Checkpoint::open(folder.path() / "one");
  const auto shards = Checkpoint::open(folder.path() / "shards");
  check_dense(*one);
  check_dense(*shards);
  expect_same_values(*one, model);
  expect_same_values(*shards, model);
  EXPECT_FALSE(one->is_gguf());
  EXPECT_EQ(one->config_json(), model.config);
  EXPECT_GT(shards->file_bytes(), one->file_bytes());
  EXPECT_EQ(one->content_hash(), shards->content_hash());
  EXPECT_EQ(one->content_hash().size(), 64u);
  random_model(small_config("qwen2"), 2).write(folder.path() / "other");
  EXPECT_NE(Checkpoint::open(folder.path() / "other")->content_hash(), one->content_hash());
}

TEST(CheckpointTest, RowsInTheMiddle) {
  const TestFolder folder;
  const TestModel model = random_model(small_config("llama"));
  model.write(folder.path());
  const auto checkpoint = Checkpoint::open(folder.path());
  const std::string name = "model.layers.1.mlp.down_proj.weight";  // [32, 48]
  std::vector<float> rows(3 * 48);
  checkpoint->read_rows(name, 7, 3, rows);
  const auto& whole = model.tensors.at(name);
  EXPECT_EQ(rows, std::vector<float>(whole.begin() + 7 * 48, whole.begin() + 10 * 48));
}

class GgufFamilyTest : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Families, GgufFamilyTest,
                         ::testing::Values("llama", "qwen2", "qwen3", "mistral"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(GgufFamilyTest, IsTheModelItWasMadeFrom) {
  const TestFolder folder;
  Json config = small_config(GetParam());
  config["bos_token_id"] = 1;
  const TestModel model = random_model(config);
  auto gguf = to_gguf(model);
  gguf.key("tokenizer.ggml.bos_token_id", 1u);
  gguf.key("tokenizer.ggml.eos_token_id", 3u);
  write_file_atomic(folder.path() / "m.gguf", gguf.bytes());
  const auto checkpoint = Checkpoint::open(folder.path() / "m.gguf");
  EXPECT_TRUE(checkpoint->is_gguf());
  check_dense(*checkpoint);
  expect_same_values(*checkpoint, model);

  const ModelPlan found = checkpoint->plan(), expected = plan_model(config, "test");
  EXPECT_EQ(found.model_type, expected.model_type);
  EXPECT_EQ(found.blocks[1].attention.window, expected.blocks[1].attention.window);
  EXPECT_EQ(found.final_norm.eps, expected.final_norm.eps);  // 1e-5, not the float next to it
  EXPECT_EQ(found.ropes, expected.ropes);
  EXPECT_EQ(found.eos_token_ids, expected.eos_token_ids);
  EXPECT_EQ(found.bos_token_id, 1);
  EXPECT_FALSE(found.tied);

  // config_json() with the values read makes a Hugging Face directory of the same model.
  TestModel copy = model;
  copy.config = checkpoint->config_json();
  copy.write(folder.path() / "hf");
  const auto again = Checkpoint::open(folder.path() / "hf");
  check_dense(*again);
  EXPECT_EQ(again->plan().blocks[0].attention.head_dim, 8);
  EXPECT_EQ(again->plan().eos_token_ids, expected.eos_token_ids);
}

TEST(CheckpointTest, GgufRowsAndBiasesOfLlamaAreInHuggingFaceOrder) {
  const TestFolder folder;
  Json config = small_config("llama");
  config["attention_bias"] = true;
  const TestModel model = random_model(config);
  write_file_atomic(folder.path() / "m.gguf", to_gguf(model).bytes());
  const auto checkpoint = Checkpoint::open(folder.path() / "m.gguf");
  expect_same_values(*checkpoint, model);
  const std::string name = "model.layers.0.self_attn.q_proj.weight";
  const auto& whole = model.tensors.at(name);
  for (int64_t row = 0; row < 32; ++row) {
    std::vector<float> values(32);
    checkpoint->read_rows(name, row, 1, values);
    EXPECT_EQ(values, std::vector<float>(whole.begin() + row * 32, whole.begin() + row * 32 + 32));
  }
}

TEST(CheckpointTest, GgufBlocksAreReadRowByRow) {
  const TestFolder folder;
  // One matrix as Q8_0, one block a row of 32.
  TestModel model = random_model(small_config("llama"));
  const std::string name = "model.layers.0.self_attn.o_proj.weight";
  model.tensors.erase(name);
  auto gguf = to_gguf(model);
  std::string blocks;
  for (int row = 0; row < 32; ++row) {
    blocks += testing::GgufBuilder::number(float_to_fp16(0.5f));
    for (int i = 0; i < 32; ++i) blocks += static_cast<char>(row + i - 30);
  }
  gguf.tensor("blk.0.attn_output.weight", 8, {32, 32}, blocks);
  write_file_atomic(folder.path() / "m.gguf", gguf.bytes());
  const auto checkpoint = Checkpoint::open(folder.path() / "m.gguf");
  check_dense(*checkpoint);
  std::vector<float> row(32);
  checkpoint->read_rows(name, 9, 1, row);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(row[static_cast<size_t>(i)], 0.5f * (9 + i - 30));
}

// What llama.cpp's conversion writes for llama3 scaling.
std::vector<float> rope_divisors(const Json& config) {
  RopePlan rope = plan_model(config, "test").ropes[0];
  const auto scaled = rope_inverse_frequencies(rope, 1);
  rope.scaling = RopePlan::Scaling::kNone;
  const auto plain = rope_inverse_frequencies(rope, 1);
  std::vector<float> divisors;
  for (size_t i = 0; i < plain.size(); ++i) {
    divisors.push_back(static_cast<float>(plain[i] / scaled[i]));
  }
  return divisors;
}

TEST(CheckpointTest, GgufRopeScaling) {
  const TestFolder folder;
  const auto path = folder.path() / "m.gguf";
  Json config = small_config("llama");
  config["head_dim"] = 32;
  config["rope_theta"] = 500000.0;
  const auto plain = random_model(config);

  Json scaled = config;
  scaled["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", 32.0},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", 8192}};
  auto gguf = to_gguf(plain);
  gguf.tensor("rope_freqs.weight", {16}, rope_divisors(scaled));
  write_file_atomic(path, gguf.bytes());
  const auto llama3 = Checkpoint::open(path);
  check_dense(*llama3);
  const auto expected = rope_inverse_frequencies(plan_model(scaled, "test").ropes[0], 1);
  const auto found = rope_inverse_frequencies(llama3->plan().ropes[0], 1);
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i] / expected[i], 1, 1e-6);
  EXPECT_EQ(llama3->config_json()["rope_scaling"], scaled["rope_scaling"]);

  gguf = to_gguf(plain);
  gguf.tensor("rope_freqs.weight", {16}, std::vector<float>(16, 1.0f));
  write_file_atomic(path, gguf.bytes());
  EXPECT_EQ(Checkpoint::open(path)->plan().ropes[0].scaling, RopePlan::Scaling::kNone);
  for (const bool divided : {false, true}) {  // beside another kind
    gguf = to_gguf(plain);
    gguf.key("llama.rope.scaling.type", std::string("linear"));
    gguf.key("llama.rope.scaling.factor", 4.0f);
    gguf.tensor("rope_freqs.weight", {16},
                divided ? rope_divisors(scaled) : std::vector<float>(16, 1.0f));
    write_file_atomic(path, gguf.bytes());
    if (divided)
      expect_contains(error_of([&] { Checkpoint::open(path); }), "is linear");
    else
      EXPECT_EQ(Checkpoint::open(path)->plan().ropes[0].scaling, RopePlan::Scaling::kLinear);
  }

  gguf = to_gguf(plain);
  std::vector<float> strange(16, 1.0f);
  strange[2] = 3.0f;
  gguf.tensor("rope_freqs.weight", {16}, strange);
  write_file_atomic(path, gguf.bytes());
  expect_contains(error_of([&] { Checkpoint::open(path); }), "rope_freqs.weight");

  gguf = to_gguf(plain);
  gguf.key("llama.rope.scaling.type", std::string("linear"));
  gguf.key("llama.rope.scaling.factor", 4.0f);
  write_file_atomic(path, gguf.bytes());
  EXPECT_EQ(Checkpoint::open(path)->plan().ropes[0].scaling, RopePlan::Scaling::kLinear);
  EXPECT_EQ(Checkpoint::open(path)->plan().ropes[0].factor, 4.0);

  gguf = to_gguf(plain);
  gguf.key("llama.rope.scaling.type", std::string("yarn"));
  gguf.key("llama.rope.scaling.factor", 4.0f);
  gguf.key("llama.rope.scaling.original_context_length", 16u);
  write_file_atomic(path, gguf.bytes());
  EXPECT_EQ(Checkpoint::open(path)->plan().ropes[0].scaling, RopePlan::Scaling::kYarn);

  gguf = to_gguf(plain);
  gguf.key("llama.rope.scaling.type", std::string("ntk"));
  write_file_atomic(path, gguf.bytes());
  expect_contains(error_of([&] { Checkpoint::open(path); }), "'ntk' is not supported");
}

TEST(CheckpointTest, GgufOfOtherKindsIsRefused) {
  const TestFolder folder;
  const auto path = folder.path() / "m.gguf";
  const auto message = [&](const testing::GgufBuilder& gguf) {
    write_file_atomic(path, gguf.bytes());
    return error_of([&] { Checkpoint::open(path); });
  };
  testing::GgufBuilder other;
  other.key("general.architecture", std::string("mamba"));
  for (const char* known : {"'mamba'", "Llama", "Qwen2", "Qwen3", "Mistral"}) {
    expect_contains(message(other), known);
  }
  const TestModel model = random_model(small_config("llama"));
  auto experts = to_gguf(model);
  experts.key("llama.expert_count", 8u);
  expect_contains(message(experts), "'llama.expert_used_count' is missing");
  auto part = to_gguf(model);
  part.key("split.count", 2u);
  expect_contains(message(part), "split");
  auto unknown = to_gguf(model);
  unknown.tensor("blk.0.attn_sinks", {4}, std::vector<float>(4));
  expect_contains(message(unknown), "'blk.0.attn_sinks'");
  TestModel cut = model;  // not whole heads of 8
  cut.tensors["model.layers.1.self_attn.k_proj.weight"].resize(12 * 32);
  cut.shapes["model.layers.1.self_attn.k_proj.weight"] = {12, 32};
  expect_contains(message(to_gguf(cut)), "[12, 32]");
  auto partial = to_gguf(model);
  partial.key("llama.rope.dimension_count", 4u);
  expect_contains(message(partial), "rope.dimension_count");
}

TEST(CheckpointTest, GgufTiedHeadAndEndTokens) {
  const TestFolder folder;
  Json config = small_config("llama");
  config["tie_word_embeddings"] = true;
  auto gguf = to_gguf(random_model(config));
  gguf.key("tokenizer.ggml.eos_token_id", 5u);
  gguf.key("tokenizer.ggml.eot_token_id", 6u);
  write_file_atomic(folder.path() / "m.gguf", gguf.bytes());
  const auto checkpoint = Checkpoint::open(folder.path() / "m.gguf");
  check_dense(*checkpoint);
  EXPECT_TRUE(checkpoint->plan().tied);
  EXPECT_EQ(checkpoint->plan().eos_token_ids, (std::vector<int64_t>{5, 6}));
  EXPECT_EQ(checkpoint->plan().bos_token_id, -1);
}

TEST(CheckpointTest, EndTokensOfBothConfigsTogether) {
  const TestFolder folder;
  random_model(small_config("llama")).write(folder.path());
  write_json_file(folder.path() / "generation_config.json", {{"eos_token_id", {3, 9, 11}}});
  EXPECT_EQ(Checkpoint::open(folder.path())->plan().eos_token_ids,
            (std::vector<int64_t>{3, 9, 11}));
}

TEST(CheckpointTest, QuantizedDirectoriesOpenWithoutDenseTensors) {
  const TestFolder folder;
  TestModel model = random_model(small_config("llama"));
  const std::string module = "model.layers.0.self_attn.q_proj";  // [32, 32]
  model.tensors.erase(module + ".weight");
  model.config["quantization_config"] = {{"quant_method", "bitsmith"}};
  std::vector<TensorView> views = model.views();
  const std::string codes(32 * 4 * 2, 'c'), books(2 * 256 * 8 * 2, 'b'), scales(64, 's');
  views.push_back({module + ".codes", DType::I8, {32, 4, 2}, testing::bytes_of(codes)});
  views.push_back({module + ".codebooks", DType::F16, {2, 256, 1, 8}, testing::bytes_of(books)});
  views.push_back({module + ".scales", DType::F16, {32, 1, 1, 1}, testing::bytes_of(scales)});
  write_json_file(folder.path() / "config.json", model.config);
  write_sharded_safetensors(folder.path(), {views.begin(), views.end()});
  const auto checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint->at(module + ".codes").shape, (std::vector<int64_t>{32, 4, 2}));
  expect_contains(error_of([&] { check_dense(*checkpoint); }), module);

  const ModelSize size = model_size(checkpoint->plan(), checkpoint->tensors());
  const int64_t block = 32 * 32 * 2 + 16 * 32 * 2 + 48 * 32 * 3;
  EXPECT_EQ(size.decoder_weights, 2 * block);
  EXPECT_EQ(size.parameters, 2 * (block + 64) + 32 + 2 * 20 * 32);
  EXPECT_EQ(size.decoder_bytes, 4 * (2 * block - 1024) + 256 + 8192 + 64);
  EXPECT_EQ(size.tensor_bytes - size.decoder_bytes, 4 * (size.parameters - size.decoder_weights));
  EXPECT_EQ(size.outer_weights, 2 * 20 * 32);
  EXPECT_DOUBLE_EQ(size.outer_bits(), 32);
  EXPECT_DOUBLE_EQ(size.decoder_bits(), 8.0 * static_cast<double>(size.decoder_bytes) /
                                            static_cast<double>(size.decoder_weights));
}

TEST(CheckpointTest, IncompleteModelsAreErrorsThatSayWhatIsMissing) {
  const TestFolder folder;
  const auto path = folder.path() / "model";
  const auto open_error = [&] { return error_of([&] { Checkpoint::open(path); }); };
  expect_contains(open_error(), "no model at");
  std::filesystem::create_directories(path);
  expect_contains(open_error(), "config.json");
  write_file_atomic(path / "model-q4.gguf", "");
  expect_contains(open_error(), "model-q4.gguf");
  write_json_file(path / "config.json", small_config("llama"));
  expect_contains(open_error(), "safetensors");
  write_json_file(path / "model.safetensors.index.json", {{"weight_map", {{"a", "../secret"}}}});
  expect_contains(open_error(), "'../secret'");
  write_json_file(path / "model.safetensors.index.json",
                  {{"weight_map", {{"model.norm.weight", "model-00001-of-00001.safetensors"}}}});
  expect_contains(open_error(), "No such file");
  write_safetensors(path / "model-00001-of-00001.safetensors", {});
  expect_contains(open_error(), "tensor 'model.norm.weight'");
  expect_contains(error_of([&] { Checkpoint::open(path / "model-00001-of-00001.safetensors"); }),
                  "name the directory");
}

// Indices name tensors for other uses (several tokens at once), published or not.
TEST(CheckpointTest, TensorsThatNobodyNeedsMayBeMissing) {
  const TestFolder folder;
  TestModel model = random_model(small_config("llama"));
  for (const char* name : {"mtp.fc.weight", "model.layers.0.self_attn.q_proj.bias",
                           "model.layers.0.self_attn.rotary_emb.inv_freq", "extra\n.weight"}) {
    model.tensors[name] = {1};
    model.shapes[name] = {1};
  }
  model.write(folder.path(), 10'000);
  const auto whole = Checkpoint::open(folder.path());
  EXPECT_EQ(whole->ignored_tensors().size(), 4u);
  const std::string line = ignored_tensors_line(*whole);
  expect_contains(line, "ignored 4 tensors");
  expect_contains(line, ", ...");
  EXPECT_EQ(line.find('\n'), std::string::npos);

  const auto index_path = folder.path() / "model.safetensors.index.json";
  const Json index = read_json_file(index_path);
  Json changed = index;
  const std::string norm = "model.norm.weight", shard = index["weight_map"][norm];
  changed["weight_map"]["gone.weight"] = shard;
  changed["weight_map"]["mtp.layers.0.weight"] = "model-of-another-download.safetensors";
  write_json_file(index_path, changed);
  const auto checkpoint = Checkpoint::open(folder.path());
  check_dense(*checkpoint);
  EXPECT_EQ(checkpoint->content_hash(), whole->content_hash());
  changed["weight_map"][norm] = "model-of-another-download.safetensors";
  write_json_file(index_path, changed);
  expect_contains(error_of([&] { Checkpoint::open(folder.path()); }),
                  "model-of-another-download.safetensors");

  TestModel plain = random_model(small_config("llama"));
  plain.write(folder.path() / "plain");
  EXPECT_EQ(ignored_tensors_line(*Checkpoint::open(folder.path() / "plain")), "");
}

TEST(CheckpointTest, CheckDenseNamesFileTensorExpectedAndFound) {
  const TestFolder folder;
  TestModel model = random_model(small_config("llama"));
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  TestModel missing = model;
  missing.tensors.erase(name);
  missing.write(folder.path());
  const std::string absent = error_of([&] { check_dense(*Checkpoint::open(folder.path())); });
  expect_contains(absent, "'" + name + "'");
  expect_contains(absent, "model.layers.0.mlp.up_proj.weight");  // a near name

  model.shapes[name] = {32, 48};
  model.write(folder.path());
  const std::string wrong = error_of([&] { check_dense(*Checkpoint::open(folder.path())); });
  for (const char* part : {"model.safetensors", name.c_str(), "[32, 48]", "[48, 32]"}) {
    expect_contains(wrong, part);
  }
}

}  // namespace
}  // namespace bitsmith
