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
  SelfGenerateOptions options{.count = 5, .length = 20, .seed = 3, .start = {0, 40}, .batch = 5};
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
  options.count = 2;
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
      .count = 3, .length = 40, .temperature = 50, .start = {0}, .vocab_size = 10};
  for (const auto& sequence : generate_sequences(model, options))
    for (const int32_t token : sequence) EXPECT_LT(token, 10);
}

TEST(SelfGenerator, NothingButTheStart) {
  RuntimeModel model = load_trained();
  const auto sequences = generate_sequences(model, {.count = 2, .length = 1, .start = {7}});
  EXPECT_EQ(sequences, (std::vector<std::vector<int32_t>>{{7}, {7}}));
}

}  // namespace
}  // namespace bitsmith
