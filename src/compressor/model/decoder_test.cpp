#include "compressor/model/decoder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "checkpoint/safetensors.h"
#include "compressor/model/torch_language_model.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

// Everything in testdata/ with golden logits from Hugging Face transformers (float32).
std::vector<fs::path> golden_models() {
  std::vector<fs::path> models;
  for (const fs::path& folder :
       {fs::path(BITSMITH_TESTDATA), fs::path(BITSMITH_TESTDATA) / "families"}) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      const bool refused = entry.path().filename() == "tiny_opt_350m";
      if (!refused && fs::exists(entry.path() / "golden.safetensors"))
        models.push_back(entry.path());
    }
  }
  return models;
}

fs::path model_path(const fs::path& folder) {
  return fs::exists(folder / "config.json") ? folder : folder / "model.gguf";
}

struct Golden {
  std::vector<int32_t> ids;
  std::vector<float> logits;  // [ids, vocab]
};

Golden read_golden(const fs::path& folder) {
  const SafetensorsFile file = open_safetensors(folder / "golden.safetensors");
  const TensorView &ids = *file.find("ids"), &logits = *file.find("logits");
  std::vector<int64_t> wide(ids.bytes.size() / sizeof(int64_t));
  std::memcpy(wide.data(), ids.bytes.data(), ids.bytes.size());
  Golden golden{{wide.begin(), wide.end()}, std::vector<float>(logits.bytes.size() / 4)};
  std::memcpy(golden.logits.data(), logits.bytes.data(), logits.bytes.size());
  return golden;
}

torch::Tensor ids_tensor(const std::vector<int32_t>& ids) {
  return torch::tensor(std::vector<int64_t>(ids.begin(), ids.end())).unsqueeze(0);
}

double relative_error(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

TEST(Decoder, LogitsEqualHuggingFace) {
  ASSERT_FALSE(golden_models().empty());
  for (const fs::path& folder : golden_models()) {
    SCOPED_TRACE(folder.filename().string());
    const Golden golden = read_golden(folder);
    const auto model = load_torch_language_model(model_path(folder), DType::F32, 2);
    const int64_t tokens = std::ssize(golden.ids), vocab = model->vocab_size();
    ASSERT_EQ(std::ssize(golden.logits), tokens * vocab);
    model->run(golden.ids);
    std::vector<float> logits(golden.logits.size());
    for (int64_t first = 0; first < tokens; first += 7) {  // in chunks, as callers ask
      const int64_t count = std::min<int64_t>(7, tokens - first);
      model->logits(first, count, std::span(logits).subspan(first * vocab, count * vocab));
    }
    const torch::Tensor got = torch::tensor(logits), want = torch::tensor(golden.logits);
    EXPECT_LT(relative_error(got, want), 2e-5);
  }
}

TEST(Decoder, Bfloat16IsCloseToFloat32) {
  for (const fs::path& folder : golden_models()) {
    SCOPED_TRACE(folder.filename().string());
    const Golden golden = read_golden(folder);
    const torch::NoGradGuard no_grad;
    const auto files = ModelFiles::open(model_path(folder));
    const auto exact = Decoder::load(files, torch::kFloat32);
    const auto narrow = Decoder::load(files, torch::kBFloat16);
    const torch::Tensor ids = ids_tensor(golden.ids);
    EXPECT_LT(
        relative_error(narrow->hidden_states(ids).to(torch::kFloat32), exact->hidden_states(ids)),
        0.1);
  }
}

TEST(Decoder, WindowsOfABatchDoNotSeeEachOther) {
  const fs::path folder = fs::path(BITSMITH_TESTDATA) / "tiny_mistral";
  const torch::NoGradGuard no_grad;
  const auto decoder = Decoder::load(ModelFiles::open(folder), torch::kFloat32);
  const torch::Tensor ids = torch::randint(decoder->plan().vocab_size, {3, 20});
  const torch::Tensor together = decoder->hidden_states(ids);
  for (int64_t i = 0; i < 3; ++i)
    EXPECT_LT(
        relative_error(decoder->hidden_states(ids.slice(0, i, i + 1)), together.slice(0, i, i + 1)),
        1e-5);
}

TEST(Decoder, ObserverSeesTheInputsOfEveryLinear) {
  for (const char* name : {"tiny_qwen3", "families/tiny_mixtral"}) {
    SCOPED_TRACE(name);
    const fs::path folder = fs::path(BITSMITH_TESTDATA) / name;
    const torch::NoGradGuard no_grad;
    const auto decoder = Decoder::open(ModelFiles::open(folder), torch::kFloat32);
    EXPECT_TRUE(decoder->blocks().empty());
    const auto block = decoder->load_block(1);
    const torch::Tensor x = torch::randn({2, 9, decoder->plan().hidden_size});
    size_t calls = 0;
    const auto check = [&](size_t site, const torch::Tensor& inputs) {
      EXPECT_EQ(site, calls++);
      std::vector<std::string> names, planned;
      for (const Linear* linear : block->site_linears(site)) {
        EXPECT_EQ(inputs.size(-1), linear->in_features);
        names.push_back(linear->name);
      }
      for (const LinearPlan* linear : block->sites[site].linears) planned.push_back(linear->name);
      EXPECT_EQ(names, planned);
      if (block->sites[site].expert < 0) {
        EXPECT_EQ(inputs.numel() / inputs.size(-1), 2 * 9);
      }
    };
    decoder->run_block(*block, x, decoder->rotary(9), check);
    EXPECT_EQ(calls, block->sites.size());
  }
}

// Directional derivative by finite differences, in every parameter and the input at once.
TEST(Decoder, GradientsEqualFiniteDifferences) {
  for (const char* name : {"tiny_llama", "tiny_qwen3", "tiny_mistral", "tiny_qwen2",
                           "families/tiny_bloom", "families/tiny_gemma2", "families/tiny_gpt_neox",
                           "families/tiny_mixtral", "families/tiny_olmo2", "families/tiny_phi3"}) {
    SCOPED_TRACE(name);
    const auto decoder =
        Decoder::load(ModelFiles::open(fs::path(BITSMITH_TESTDATA) / name), torch::kFloat32);
    Block& block = *decoder->blocks()[1];
    torch::manual_seed(0);
    torch::Tensor x = torch::randn({2, 15, decoder->plan().hidden_size});
    std::vector<torch::Tensor*> leaves = {&x};
    for (Linear* linear : block.linears()) leaves.push_back(&linear->weight);
    for (const auto& [name, vector] : block.dense_vectors()) leaves.push_back(vector);

    const RotaryTables rotary = decoder->rotary(15);
    const torch::Tensor direction = torch::randn_like(x);
    const auto objective = [&] {
      return (decoder->run_block(block, x, rotary) * direction).to(torch::kFloat64).sum();
    };
    for (torch::Tensor* leaf : leaves) leaf->requires_grad_(true);
    objective().backward();

    const torch::NoGradGuard no_grad;
    double analytic = 0;
    std::vector<torch::Tensor> steps;
    for (torch::Tensor* leaf : leaves) {
      steps.push_back(torch::randn_like(*leaf) * leaf->abs().mean());
      analytic += (leaf->grad() * steps.back()).sum().item<double>();
    }
    constexpr double kStep = 1e-3;
    double difference = 0;
    for (const double sign : {1.0, -1.0}) {
      for (size_t i = 0; i < leaves.size(); ++i) leaves[i]->add_(steps[i], sign * kStep);
      difference += sign * objective().item<double>() / (2 * kStep);
      for (size_t i = 0; i < leaves.size(); ++i) leaves[i]->sub_(steps[i], sign * kStep);
    }
    EXPECT_NEAR(difference, analytic, 5e-3 * std::abs(analytic) + 1e-2);
  }
}

TEST(TorchLanguageModel, RefusesIdsOutsideTheVocabulary) {
  const auto model =
      load_torch_language_model(fs::path(BITSMITH_TESTDATA) / "tiny_llama", DType::F32, 1);
  EXPECT_THROW(model->run(std::vector<int32_t>{0, 384}), Error);
  EXPECT_THROW(model->run(std::vector<int32_t>{-1}), Error);
  EXPECT_THROW(model->run({}), Error);
}

}  // namespace
}  // namespace bitsmith
