#include "compressor/train/teacher_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "compressor/train/loss.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

// With all tokens kept the loss is that of the whole distribution; with fewer it is below it, and
// its gradient that of the divergence over the top tokens and the rest together.
TEST(CachedLogits, GiveTheDivergenceOfTheTopTokensAndTheRest) {
  torch::manual_seed(3);
  const int64_t n = 20, hidden = 24, vocab = 50;
  const auto teacher = torch::randn({n, hidden}), student = torch::randn({n, hidden}),
             head = 0.4 * torch::randn({vocab, hidden});
  struct TopRows : TeacherRows {
    TopTokens top;
    int64_t first = 0;
    void prepare(int64_t begin, int64_t) override { first = begin; }
    void logits(int64_t row, const float* of_student, float* out) const override {
      const int64_t k = top.ids.size(1), at = first + row;
      fill_cached_logits(top.ids.const_data_ptr<int32_t>() + at * k,
                         top.log_probabilities.const_data_ptr<float>() + at * k, k,
                         top.log_tails.const_data_ptr<float>()[at], of_student, 50, out);
    }
  };
  for (const Loss kind : {Loss::kKl, Loss::kJensenShannon}) {
    const LossOptions options{.loss = kind, .temperature = 1.5};
    HiddenTeacherRows whole(teacher, {head}, options.temperature);
    const auto exact = training_loss(options, &whole, {}, student, {head}, true);
    double before = 0;
    for (const int64_t k : {1, 3, 10, 49, 50}) {
      TopRows rows;
      rows.top = top_tokens(torch::linear(teacher, head), k, options.temperature);
      const auto cached = training_loss(options, &rows, {}, student, {head}, true, 1.0, 7);
      EXPECT_GT(cached.sum, before - 1e-5) << k;  // more tokens, more of it
      EXPECT_LT(cached.sum, exact.sum + 1e-4) << k;
      before = cached.sum;

      // By autograd: log-probabilities of the k tokens, and of all others together.
      const auto wide = student.to(torch::kFloat64).requires_grad_(true);
      const auto merged = [&](const torch::Tensor& logits) {
        const auto log_p = torch::log_softmax(logits / options.temperature, 1);
        const auto ids = rows.top.ids.to(torch::kInt64);
        if (k == vocab) return log_p.gather(1, ids);
        const auto rest = log_p.scatter(1, ids, -INFINITY).logsumexp(1, true);
        return torch::cat({log_p.gather(1, ids), rest}, 1);
      };
      const auto head64 = head.to(torch::kFloat64);
      const auto log_p = merged(torch::linear(teacher.to(torch::kFloat64), head64)),
                 log_q = merged(torch::linear(wide, head64));
      const auto kl = [](const torch::Tensor& a, const torch::Tensor& b) {
        return (a.exp() * (a - b)).sum();
      };
      const auto log_m = torch::logaddexp(log_p, log_q) - std::log(2.0);
      const auto loss =
          1.5 * 1.5 *
          (kind == Loss::kKl ? kl(log_p, log_q) : (kl(log_p, log_m) + kl(log_q, log_m)) / 2);
      loss.backward();
      EXPECT_NEAR(cached.sum, loss.item<double>(), 1e-4 * (1 + cached.sum)) << k;
      EXPECT_LT((cached.grad_hidden - wide.grad()).norm().item<double>(),
                1e-4 * wide.grad().norm().item<double>())
          << k;
    }
    EXPECT_NEAR(before, exact.sum, 1e-4 * exact.sum);
  }
}

class Cache : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / concat("teacher_cache_", ::getpid());
    fs::remove_all(folder_);
    files_ = ModelFiles::open(fs::path(BITSMITH_TESTDATA) / "tiny_llama");
    decoder_ = Decoder::load(files_, torch::kFloat32);
    torch::manual_seed(1);
    windows_ = torch::randint(files_->plan().vocab_size, {70, 8}, torch::kInt64);  // three files
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::unique_ptr<TeacherCache> open() {
    return std::make_unique<TeacherCache>(folder_, key_, *decoder_, windows_, 16, context_);
  }
  // KL of a student of random hidden states on some windows.
  double kl_to(Teacher& teacher, const std::vector<int64_t>& places) {
    const auto chosen = torch::tensor(places, torch::kInt64);
    const auto rows = teacher.rows({chosen, windows_.index_select(0, chosen)});
    torch::manual_seed(2);
    const auto hidden = torch::randn({8 * chosen.numel(), files_->plan().hidden_size});
    return training_loss({}, rows.get(), {}, hidden, decoder_->head(), false).sum;
  }
  void expect_refused(const std::string& says) {
    try {
      open();
      FAIL() << says;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(folder_.string()), std::string::npos);
    }
  }

  fs::path folder_;
  std::shared_ptr<const ModelFiles> files_;
  std::unique_ptr<Decoder> decoder_;
  torch::Tensor windows_;
  TeacherCacheKey key_ = {
      .model_hash = "model", .data_hash = "data", .dtype = "float32", .top_k = 5};
  CancelFlag cancel_;
  RunContext context_{.cancel = &cancel_};
};

TEST_F(Cache, OfAllTokensIsTheTeacherInAnyOrderOfWindows) {
  key_.top_k = files_->plan().vocab_size;
  DecoderTeacher teacher(*decoder_);
  for (int time = 0; time < 2; ++time) {  // made, and read
    const auto cache = open();
    for (const auto& places : {std::vector<int64_t>{69, 0, 33}, {31, 32}}) {
      const double exact = kl_to(teacher, places);
      EXPECT_NEAR(kl_to(*cache, places), exact, 1e-4 * exact);
    }
  }
}

TEST_F(Cache, WhatIsMissingIsMadeAnewWithTheSameBytes) {
  open();
  const fs::path file = folder_ / "windows-000001.safetensors";
  const std::string before = read_text_file(file);
  fs::remove(file);
  open();
  EXPECT_EQ(read_text_file(file), before);
  cancel_.raise();
  EXPECT_THROW(open(), Interrupted);
}

TEST_F(Cache, OfAnotherKeyIsRefusedAndStays) {
  open();
  const TeacherCacheKey right = key_;
  const int64_t vocab = files_->plan().vocab_size;
  const auto other = [&](const char* says, auto change) {
    change(key_);
    expect_refused(says);
    EXPECT_THROW(check_teacher_cache(folder_, key_, windows_, vocab), Error);
    key_ = right;
    check_teacher_cache(folder_, key_, windows_, vocab);
  };
  other("model_sha256", [](auto& key) { key.model_hash = "other"; });
  other("data_sha256", [](auto& key) { key.data_hash = "other"; });
  other("top_k", [](auto& key) { key.top_k = 6; });
  other("temperature", [](auto& key) { key.temperature = 2; });
  other("dtype", [](auto& key) { key.dtype = "bfloat16"; });
  const auto all = windows_;
  windows_ = windows_.narrow(1, 0, 7).contiguous();
  expect_refused("length");
  windows_ = all;
  open();
}

TEST_F(Cache, DamagedFilesAndOtherFoldersAreRefused) {
  open();
  const fs::path file = folder_ / "windows-000002.safetensors";
  const std::string whole = read_text_file(file);
  std::string changed = whole;
  changed.back() = static_cast<char>(changed.back() ^ 1);
  write_file_atomic(file, changed);
  expect_refused("checksum");
  write_file_atomic(file, whole.substr(0, whole.size() - 4));
  expect_refused("windows-000002");
  fs::copy_file(folder_ / "windows-000001.safetensors", file,
                fs::copy_options::overwrite_existing);  // more windows than the last file has
  expect_refused("ids is");
  fs::remove_all(folder_);
  fs::create_directories(folder_);
  write_file_atomic(folder_ / "thesis.txt", "dear to me");
  expect_refused("thesis.txt");
  EXPECT_EQ(read_text_file(folder_ / "thesis.txt"), "dear to me");
  fs::remove_all(folder_);
  write_file_atomic(folder_, "a file");
  expect_refused("is no folder");
}

}  // namespace
}  // namespace bitsmith
