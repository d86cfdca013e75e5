// What tests of quantize_model() share.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>

#include "architecture/family.h"
#include "base/error.h"
#include "base/files.h"
#include "checkpoint/safetensors.h"
#include "compressor/quantize_model/quantize_model.h"

namespace bitsmith {

class QuantizeModel : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              concat("quantize_model_", ::getpid(), "_",
                     ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    options_.representation = parse_representation("int4g16");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static std::shared_ptr<const ModelFiles> model(const std::string& name) {
    const std::filesystem::path path = std::filesystem::path(BITSMITH_TESTDATA) / name;
    return ModelFiles::open(std::filesystem::exists(path / "model.gguf") ? path / "model.gguf"
                                                                         : path);
  }
  static TokenDataset data(const ModelFiles& files, int count = 24, int length = 32) {
    torch::manual_seed(1);
    TokenDataset data;
    data.train = torch::randint(files.plan().vocab_size, {count, length}, torch::kInt64);
    data.validation = torch::empty({0, length}, torch::kInt64);
    data.hash = "random";
    return data;
  }
  QuantizeModelResult quantize(const std::string& name, const std::string& out,
                               bool force = false) {
    const auto files = model(name);
    return quantize(files, data(*files), folder_ / out, force);
  }
  // As the command does it.
  QuantizeModelResult quantize(const std::shared_ptr<const ModelFiles>& files,
                               const TokenDataset& data, const std::filesystem::path& out,
                               bool force = false) {
    check_quantize_request(*files, options_, {.threads = 2});
    WorkFolder work(out, force, quantize_request(*files, options_, {{"command", "test"}}));
    return quantize_model(files, data, options_, work, out.string() + ".quantize.jsonl",
                          {.cancel = &cancel_});
  }
  // A random llama of many small blocks, written by this test.
  std::filesystem::path deep_model(int64_t blocks) {
    const std::filesystem::path path = folder_ / "deep";
    std::filesystem::create_directories(path);
    Json config =
        read_json_file(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama" / "config.json");
    config["num_hidden_layers"] = blocks;
    write_json_file(path / "config.json", config);
    torch::manual_seed(2);
    std::vector<torch::Tensor> storage;
    std::vector<TensorView> views;
    for (const PlannedTensor& planned : planned_tensors(plan_model(config, "test"))) {
      const auto& [name, shape] = std::tie(planned.name, planned.shape);
      torch::Tensor tensor = torch::randn(shape) / std::sqrt(shape.back());
      if (shape.size() == 1) tensor = 1 + 0.1 * tensor;
      storage.push_back(tensor);
      views.push_back({name,
                       DType::F32,
                       shape,
                       {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}});
    }
    write_safetensors(path / "model.safetensors", views);
    return path;
  }
  bool nothing_left() const { return std::filesystem::is_empty(folder_); }

  std::filesystem::path folder_;
  QuantizeModelOptions options_;
  CancelFlag cancel_;
};

}  // namespace bitsmith
