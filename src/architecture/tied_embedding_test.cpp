// One matrix for embedding and head, however a file says so.
#include <gtest/gtest.h>

#include "architecture/checkpoint.h"
#include "architecture/test_models.h"

namespace bitsmith {
namespace {

using testing::random_model;
using testing::small_config;
using testing::TestFolder;
using testing::TestModel;
using testing::to_gguf;

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

TEST(TiedEmbeddingTest, UnderEitherName) {
  const TestFolder folder;
  Json config = small_config("llama");
  config["tie_word_embeddings"] = true;
  const TestModel model = random_model(config);

  TestModel head_only = model;
  head_only.tensors[kHead] = model.tensors.at(kEmbedding);
  head_only.shapes[kHead] = model.shapes.at(kEmbedding);
  TestModel both = head_only;
  head_only.tensors.erase(kEmbedding);
  head_only.write(folder.path() / "head_only");
  const auto from_head = Checkpoint::open(folder.path() / "head_only");
  check_dense(*from_head);
  EXPECT_EQ(from_head->read(kEmbedding), model.tensors.at(kEmbedding));
  EXPECT_EQ(from_head->find(kHead), nullptr);

  both.write(folder.path() / "both");
  const auto from_both = Checkpoint::open(folder.path() / "both");
  EXPECT_TRUE(from_both->plan().tied);
  EXPECT_EQ(from_both->find(kHead), nullptr);

  both.tensors[kHead][0] += 1;  // as transformers 5: two different matrices are not tied
  both.write(folder.path() / "different");
  const auto apart = Checkpoint::open(folder.path() / "different");
  EXPECT_FALSE(apart->plan().tied);
  EXPECT_EQ(apart->config_json()["tie_word_embeddings"], false);
  EXPECT_EQ(apart->read(kEmbedding), both.tensors.at(kEmbedding));
  EXPECT_EQ(apart->read(kHead), both.tensors.at(kHead));
}

TEST(TiedEmbeddingTest, GgufHeadThatRepeatsTheEmbeddingIsTied) {
  const TestFolder folder;
  const auto path = folder.path() / "m.gguf";
  // Matrices longer than the pieces that are compared.
  const Json config = small_config("llama", {{"vocab_size", 5000}, {"hidden_size", 900}});
  TestModel model = random_model(config);
  model.tensors[kHead] = model.tensors.at(kEmbedding);
  write_file_atomic(path, to_gguf(model).bytes());
  const auto tied = Checkpoint::open(path);
  check_dense(*tied);
  EXPECT_TRUE(tied->plan().tied);
  EXPECT_EQ(tied->config_json()["tie_word_embeddings"], true);
  EXPECT_EQ(tied->find(kHead), nullptr);
  EXPECT_EQ(tied->read(kEmbedding), model.tensors.at(kEmbedding));
  EXPECT_TRUE(tied->ignored_tensors().empty());

  model.tensors[kHead].back() += 1;
  write_file_atomic(path, to_gguf(model).bytes());
  const auto apart = Checkpoint::open(path);
  EXPECT_FALSE(apart->plan().tied);
  EXPECT_EQ(apart->read(kHead), model.tensors.at(kHead));

  // The same numbers in another type take other bytes.
  model.tensors[kEmbedding].assign(model.tensors[kEmbedding].size(), 0.0f);
  model.tensors.erase(kHead);
  auto gguf = to_gguf(model);
  gguf.tensor("output.weight", /*F16*/ 1, {5000, 900}, std::string(5000 * 900 * 2, '\0'));
  write_file_atomic(path, gguf.bytes());
  EXPECT_FALSE(Checkpoint::open(path)->plan().tied);
}

}  // namespace
}  // namespace bitsmith
