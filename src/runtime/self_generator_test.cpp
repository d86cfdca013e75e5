#include "runtime/self_generator.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace bitsmith {
namespace {

RuntimeModel load_trained() {
  const std::filesystem::path path =
      std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama_trained";
  return RuntimeModel(load_weights(*ModelFiles::open(path), DensePrecision::kFast), 2);
}

TEST(SelfGenerator, LengthStartSeedAndBatch) {
  RuntimeModel model = load_trained();
  SelfGenerateOptions options{
      .starts = std::vector<std::vector<int32_t>>(5, std::vector<int32_t>{0, 40}),
      .length = 20,
      .seed = 3,
      .batch = 5};
  int64_t done = 0;
  const auto sequences = generate_sequences(model, options, [&](int64_t d, int64_t of) {
    EXPECT_GE(d, done);
    EXPECT_EQ(of, 100);
    done = d;
  });
  EXPECT_EQ(done, 100);
  ASSERT_EQ(sequences.size(), 5u);
  for (const auto& s : sequences) {
    EXPECT_EQ(s.size(), 20u);
    EXPECT_EQ(s[0], 0);
    EXPECT_EQ(s[1], 40);
  }
  EXPECT_NE(sequences[0], sequences[1]);
  EXPECT_EQ(generate_sequences(model, options), sequences);
  for (const int64_t batch : {1, 2}) {
    options.batch = batch;
    EXPECT_EQ(generate_sequences(model, options), sequences) << batch;
  }
  options.starts.resize(2);
  const auto fewer = generate_sequences(model, options);
  EXPECT_EQ(fewer[1], sequences[1]);
  options.first = 3;  // a part of the same request
  const auto part = generate_sequences(model, options);
  ASSERT_EQ(part.size(), 2u);
  EXPECT_EQ(part[0], sequences[3]);
  EXPECT_EQ(part[1], sequences[4]);
  options.first = 0;
  options.seed = 4;
  EXPECT_NE(generate_sequences(model, options)[0], sequences[0]);
}

TEST(SelfGenerator, IdsOutsideTheTokenizerAreNeverSampled) {
  RuntimeModel model = load_trained();
  const SelfGenerateOptions options{
      .starts = {{0}, {0}, {0}}, .length = 40, .temperature = 50, .vocab_size = 10};
  for (const auto& sequence : generate_sequences(model, options))
    for (const int32_t token : sequence) EXPECT_LT(token, 10);
}

TEST(SelfGenerator, NothingButTheStart) {
  RuntimeModel model = load_trained();
  const auto sequences = generate_sequences(model, {.starts = {{7}, {7}}, .length = 1});
  EXPECT_EQ(sequences, (std::vector<std::vector<int32_t>>{{7}, {7}}));
}

TEST(SelfGenerator, EachSequenceGoesOnFromItsOwnStart) {
  RuntimeModel model = load_trained();
  const std::vector<std::vector<int32_t>> starts = {{0}, {0, 40, 41}, {0}, {40, 41}};
  const auto together = generate_sequences(model, {.starts = starts, .length = 12});
  for (size_t i = 0; i < starts.size(); ++i) {
    ASSERT_EQ(together[i].size(), 12u);
    EXPECT_TRUE(std::equal(starts[i].begin(), starts[i].end(), together[i].begin()));
    const auto alone = generate_sequences(
        model, {.starts = {starts[i]}, .first = static_cast<int64_t>(i), .length = 12});
    EXPECT_EQ(alone[0], together[i]) << i;
  }
}

}  // namespace
}  // namespace bitsmith
