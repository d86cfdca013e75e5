#include "compressor/quantize_model/quantize_model.h"

#include <gtest/gtest.h>

#include <thread>

#include "compressor/model/decoder.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/quantize_model/test_quantize_model.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

class QuantizeModel : public testing::QuantizeModelTest {};
using testing::folder_hashes;

TEST_F(QuantizeModel, EveryMatrixOfEveryFamily) {
  options_.representation = parse_representation("int8g16");
  for (const char* name : {"tiny_llama", "tiny_llama_linear", "tiny_qwen2", "tiny_qwen3",
                           "tiny_mistral", "tiny_llama_gguf"}) {
    SCOPED_TRACE(name);
    const auto base = model(name);
    const QuantizeModelResult result = quantize(name, name);
    const auto files = ModelFiles::open(folder_ / name);
    EXPECT_EQ(result.linears.size(), 7u * static_cast<size_t>(base->plan().num_blocks()));
    for (const LinearPlan* linear : linears(base->plan().blocks[1]))
      EXPECT_EQ(files->spec(linear->name), options_.representation) << linear->name;
    EXPECT_DOUBLE_EQ(result.decoder_bits, files->decoder_bits());
    EXPECT_DOUBLE_EQ(result.file_bits, files->file_bits());
    EXPECT_FALSE(fs::exists(folder_ / concat(name, ".partial")));

    const torch::NoGradGuard no_grad;
    const torch::Tensor ids = data(*base).train.slice(0, 0, 2);
    const torch::Tensor want = Decoder::load(base, torch::kFloat32)->hidden_states(ids);
    const torch::Tensor got = Decoder::load(files, torch::kFloat32)->hidden_states(ids);
    EXPECT_LT(((got - want).norm() / want.norm()).item<double>(), 0.02);
  }
}

// Block 1's errors, recomputed from the result: its inputs come through the quantized block 0.
TEST_F(QuantizeModel, ErrorsAreThoseOnTheQuantizedPrefix) {
  options_.representation = parse_representation("int3g16");
  options_.cross_term = 0;
  const auto base = model("tiny_qwen2");  // bfloat16: what stays dense stays exact
  const QuantizeModelResult result = quantize("tiny_qwen2", "out");
  const torch::NoGradGuard no_grad;
  const auto quantized = Decoder::load(ModelFiles::open(folder_ / "out"), torch::kFloat32);
  const auto original = Decoder::load(base, torch::kFloat32);
  const torch::Tensor ids = data(*base).train;
  const RotaryTables rotary = original->rotary(ids.size(1));
  const torch::Tensor x =
      quantized->run_block(*quantized->blocks()[0], quantized->embed(ids), rotary);
  Block& dense = *original->blocks()[1];
  std::map<std::string, double> errors;
  original->run_block(dense, x, rotary, [&](size_t site, const torch::Tensor& inputs) {
    for (const Linear* linear : dense.site_linears(site)) {
      const torch::Tensor stored = read_matrix(quantized->files(), linear->name, torch::kFloat32);
      const torch::Tensor wide = inputs.to(torch::kFloat64);
      const auto energy = [&](const torch::Tensor& w) {
        return torch::matmul(wide, w.to(torch::kFloat64).t()).square().sum().item<double>();
      };
      errors[linear->name] = energy(linear->weight - stored) / energy(linear->weight);
    }
  });
  int compared = 0;
  for (const LinearSummary& linear : result.linears) {
    if (!errors.contains(linear.module)) continue;
    EXPECT_NEAR(linear.relative_error, errors[linear.module], 1e-3 * errors[linear.module])
        << linear.module;
    ++compared;
  }
  EXPECT_EQ(compared, 7);
}

TEST_F(QuantizeModel, SameWorkSameBytes) {
  quantize("tiny_llama", "a");
  quantize("tiny_llama", "b");
  EXPECT_EQ(folder_hashes(folder_ / "a"), folder_hashes(folder_ / "b"));
}

TEST_F(QuantizeModel, InterruptedAfterEachStageEndsWithTheSameBytes) {
  const auto files = ModelFiles::open(deep_model(5));
  const TokenDataset windows = data(*files);
  const auto run = [&](const fs::path& out) { quantize(files, windows, out); };
  for (const char* representation : {"int4g16", "aq1x4g8", "aq2x3g8-s8x2", "gvq2d1b-n128",
                                     "int3g16+out1%+lr2", "had:int3g16", "had:e8p3"}) {
    SCOPED_TRACE(representation);
    options_.representation = parse_representation(representation);
    options_.embedding = {.bits = 8};
    if (!options_.representation.transform)
      options_.embedding = {.representation = options_.representation};
    fs::remove_all(folder_ / "whole");
    fs::remove_all(folder_ / "resumed");
    run(folder_ / "whole");

    const fs::path out = folder_ / "resumed";
    const auto stages_done = [&] {
      int64_t count = 0;
      if (fs::exists(folder_ / "resumed.partial")) {
        for (const auto& entry : fs::directory_iterator(folder_ / "resumed.partial"))
          count += entry.path().extension() == ".safetensors";
      }
      return count;
    };
    int interruptions = 0;
    while (!fs::exists(out)) {
      const int64_t before = stages_done();
      std::jthread watcher([&](const std::stop_token& stop) {
        while (!stop.stop_requested() && stages_done() == before)
          std::this_thread::sleep_for(std::chrono::microseconds(200));
        if (!stop.stop_requested()) cancel_.raise();
      });
      try {
        run(out);
      } catch (const Interrupted&) {
        ++interruptions;
      }
      watcher.request_stop();
      watcher.join();
      cancel_.clear();
      ASSERT_LT(interruptions, 20);
    }
    EXPECT_GT(interruptions, 0);
    EXPECT_EQ(folder_hashes(folder_ / "whole"), folder_hashes(out));
    EXPECT_FALSE(fs::exists(folder_ / "resumed.partial"));
  }
}

TEST_F(QuantizeModel, KeepOverrideAndEmbedding) {
  options_.keep = {"o_proj$", "layers\\.0\\..*down"};
  options_.overrides = {{"mlp", parse_representation("int8g0")},
                        {"up_proj", parse_representation("int2g16-z")}};
  options_.embedding = {.bits = 4};
  const auto base = model("tiny_qwen3");
  quantize("tiny_qwen3", "out");
  const auto files = ModelFiles::open(folder_ / "out");
  const auto spec = [&](const std::string& module) {
    const auto found = files->spec(module);
    return found ? to_string(*found) : "dense";
  };
  EXPECT_EQ(spec("model.layers.0.self_attn.q_proj"), "int4g16");
  EXPECT_EQ(spec("model.layers.1.self_attn.o_proj"), "dense");
  EXPECT_EQ(spec("model.layers.0.mlp.down_proj"), "dense");
  EXPECT_EQ(spec("model.layers.1.mlp.down_proj"), "int8g64");
  EXPECT_EQ(spec("model.layers.0.mlp.up_proj"), "int2g16-z");
  EXPECT_EQ(spec("model.embed_tokens"), "int4g32+rows3");  // special tokens
  EXPECT_EQ(spec("lm_head"), "int4g32+rows3");
  // Kept is kept.
  EXPECT_EQ(files->checkpoint().read("model.layers.0.mlp.down_proj.weight"),
            base->checkpoint().read("model.layers.0.mlp.down_proj.weight"));
}

TEST_F(QuantizeModel, KeptRowsOfAGgufAreInHuggingFaceOrder) {
  options_.keep = {"q_proj|k_proj"};
  const auto base = model("tiny_llama_gguf");
  quantize("tiny_llama_gguf", "out");
  const auto files = ModelFiles::open(folder_ / "out");
  for (const char* name :
       {"model.layers.1.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight"}) {
    const torch::Tensor want = torch::tensor(base->checkpoint().read(name));
    const torch::Tensor got = torch::tensor(files->checkpoint().read(name));
    EXPECT_LT(((got - want).norm() / want.norm()).item<double>(), 1e-3) << name;
  }
}

TEST_F(QuantizeModel, OnlyTheFirstBlocks) {
  options_.stop_after_blocks = 1;
  EXPECT_EQ(quantize("tiny_llama", "out").linears.size(), 7u);
  const auto files = ModelFiles::open(folder_ / "out");
  EXPECT_TRUE(files->spec("model.layers.0.mlp.up_proj"));
  EXPECT_FALSE(files->spec("model.layers.1.mlp.up_proj"));
}

TEST_F(QuantizeModel, RefusesBeforeAnyWorkAndLeavesNothing) {
  options_.representation = parse_representation("int4g48");  // inputs of 32 and 64
  expect_refused("sizes that do");
  options_.overrides = {{"down_proj", parse_representation("aq1x4g24")}};
  expect_refused("down_proj");
  options_.keep = {"no_such_matrix"};
  expect_refused("matches no matrix");
  options_.keep = {"(unclosed"};
  expect_refused("regular expression");
  options_.keep = {".*"};
  expect_refused("nothing is left");
  options_.method = Method::kAqlm;
  expect_refused("aqlm");
  options_.overrides = {{"embed_tokens", parse_representation("had:int4g16")}};
  expect_refused("mixes rows");
  options_.embedding = {.representation = parse_representation("had-out:int4g16")};
  expect_refused("had-in:");
  options_.embedding = {.representation = parse_representation("int4g48")};
  expect_refused("sizes that do");
  options_.embedding = {.representation = parse_representation("int4g16+rows385")};
  expect_refused("385 kept rows");
  options_.dtype = "float64";
  expect_refused("float64");
  options_.stop_after_blocks = 3;
  expect_refused("blocks");
}

TEST_F(QuantizeModel, RefusesToOverwriteOrMixWork) {
  quantize("tiny_llama", "out");
  const auto before = folder_hashes(folder_ / "out");
  EXPECT_THROW(quantize("tiny_llama", "out"), UsageError);
  EXPECT_EQ(before, folder_hashes(folder_ / "out"));
  options_.representation = parse_representation("int3g16");
  quantize("tiny_llama", "out", /*force=*/true);
  EXPECT_NE(before, folder_hashes(folder_ / "out"));

  // Unfinished work of other options, and a folder that is none of ours.
  fs::create_directories(folder_ / "other.partial");
  write_file_atomic(folder_ / "other.partial" / "request.json",
                    "{\"version\": 2, \"request\": {\"command\": \"else\"}, \"settled\": {}}");
  write_file_atomic(folder_ / "other.partial" / "block-00000.safetensors", "hours");
  EXPECT_THROW(quantize("tiny_llama", "other"), UsageError);
  fs::create_directories(folder_ / "mine.partial");
  write_file_atomic(folder_ / "mine.partial" / "thesis.txt", "precious");
  EXPECT_THROW(quantize("tiny_llama", "mine"), UsageError);
  EXPECT_EQ(read_text_file(folder_ / "mine.partial" / "thesis.txt"), "precious");
}

TEST_F(QuantizeModel, RefusesNanWeightsAndForeignTokens) {
  const fs::path path = deep_model(1);
  const auto good = ModelFiles::open(path);
  TokenDataset foreign = data(*good);
  foreign.train[0][0] = good->plan().vocab_size;
  EXPECT_THROW(quantize(good, foreign, folder_ / "out"), Error);

  std::vector<TensorView> views = good->checkpoint().tensors();
  std::vector<float> poisoned = good->checkpoint().read("model.layers.0.mlp.up_proj.weight");
  poisoned[5] = std::nanf("");
  for (TensorView& view : views) {
    if (view.name == "model.layers.0.mlp.up_proj.weight")
      view.bytes = std::as_bytes(std::span(poisoned));
  }
  fs::create_directories(folder_ / "bad");
  fs::copy_file(path / "config.json", folder_ / "bad" / "config.json");
  write_safetensors(folder_ / "bad" / "model.safetensors", views);
  const auto bad = ModelFiles::open(folder_ / "bad");
  try {
    quantize(bad, data(*bad), folder_ / "out");
    ADD_FAILURE() << "NaN was quantized";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("'model.layers.0.mlp.up_proj.weight' has NaN at [0, 5]"),
              std::string::npos)
        << e.what();
  }
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

}  // namespace
}  // namespace bitsmith
