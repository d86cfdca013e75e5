// What tests of quantizing a model share.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "architecture/family.h"
#include "base/error.h"
#include "base/files.h"
#include "checkpoint/safetensors.h"
#include "compressor/quantize_model/quantize_model.h"

namespace bitsmith::testing {

namespace fs = std::filesystem;

// File name -> SHA-256 of everything in a folder.
inline std::map<std::string, std::string> folder_hashes(const fs::path& folder) {
  std::map<std::string, std::string> hashes;
  for (const auto& entry : fs::directory_iterator(folder))
    hashes[entry.path().filename().string()] = sha256(MappedFile::open(entry.path())->bytes());
  return hashes;
}

class QuantizeModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) /
              concat("quantize_model_", ::getpid(), "_",
                     ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    options_.representation = parse_representation("int4g16");
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::shared_ptr<const ModelFiles> model(const std::string& name) {
    const fs::path path = fs::path(BITSMITH_TESTDATA) / name;
    return ModelFiles::open(fs::exists(path / "model.gguf") ? path / "model.gguf" : path);
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
                               const TokenDataset& data, const fs::path& out, bool force = false) {
    check_quantize_request(*files, options_, {.threads = 2});
    WorkFolder work(out, force, quantize_request(*files, options_, {{"command", "test"}}));
    return quantize_model(files, data, options_, work, out.string() + ".quantize.jsonl",
                          {.progress = progress_, .cancel = &cancel_});
  }
  // A random llama of many small blocks, written by this test.
  fs::path deep_model(int64_t blocks) {
    const fs::path path = folder_ / "deep";
    fs::create_directories(path);
    Json config = read_json_file(fs::path(BITSMITH_TESTDATA) / "tiny_llama" / "config.json");
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
  bool nothing_left() const { return fs::is_empty(folder_); }
  // What options_ ask for is a UsageError that says `part`, and leaves nothing. Afterwards they are
  // the defaults, of int4g16.
  void expect_refused(const std::string& part) {
    try {
      quantize("tiny_llama", "out");
      ADD_FAILURE() << "not refused: " << part;
    } catch (const UsageError& e) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
    EXPECT_TRUE(nothing_left());
    const QuantizeModelOptions defaults;
    options_ = defaults;
    options_.representation = parse_representation("int4g16");
  }

  fs::path folder_;
  QuantizeModelOptions options_;
  CancelFlag cancel_;
  ProgressSink* progress_ = nullptr;
};

}  // namespace bitsmith::testing
