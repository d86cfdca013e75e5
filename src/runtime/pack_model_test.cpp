// Packed models against those that they are made from.
#include "runtime/pack_model.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "checkpoint/test_files.h"
#include "format/output_exists.h"
#include "format/random_tensor.h"
#include "runtime/model.h"
#include "runtime/model_source.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;
using testing::error_of;
using testing::TestFolder;

const fs::path kTestdata = BITSMITH_TESTDATA;
const fs::path kTrainedLlama = kTestdata / "tiny_llama_trained";

class PackModel : public ::testing::Test {
 protected:
  fs::path pack(const fs::path& model, bool force = true) const {
    const fs::path out = folder_.path() / "m.packed";
    pack_model(model, out, force, {});
    return out;
  }
  // Files of the test's folder.
  int64_t files() const {
    return std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator());
  }

  TestFolder folder_;
};

// A prompt by the kernels for many tokens, and then one token alone.
std::vector<float> prompt_and_token_logits(const ModelSource& source) {
  RuntimeModel model(source.weights(DensePrecision::kFast), 2);
  const auto vocabulary = static_cast<size_t>(model.plan().vocab_size);
  constexpr int64_t kTokens = 12;
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < kTokens; ++i)
    tokens.push_back(static_cast<int32_t>(static_cast<size_t>(i * 31) % vocabulary));
  KvCache cache(model.plan(), kTokens + 1);
  std::vector<float> logits((kTokens + 1) * vocabulary);
  model.prefill(tokens, cache, [&](std::span<const float> hidden) {
    model.logits(hidden, model.prompt_products(), std::span(logits).first(kTokens * vocabulary));
    return true;
  });
  const TokenStep next{tokens[1], &cache};
  std::vector<float> hidden(static_cast<size_t>(model.plan().hidden_size));
  model.forward({&next, 1}, Products::kSingle, hidden);
  model.logits(hidden, Products::kSingle, std::span(logits).last(vocabulary));
  return logits;
}

std::vector<fs::path> models_on_disk() {
  std::vector<fs::path> models;
  for (const fs::path& folder : {kTestdata, kTestdata / "families"}) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().filename() == "tiny_opt_350m") continue;  // is refused
      if (fs::exists(entry.path() / "model.safetensors")) models.push_back(entry.path());
      if (fs::exists(entry.path() / "model.gguf")) models.push_back(entry.path() / "model.gguf");
    }
  }
  std::sort(models.begin(), models.end());
  return models;
}

TEST_F(PackModel, EveryModelBitForBit) {
  const auto models = models_on_disk();
  EXPECT_GT(models.size(), 10u);
  for (const fs::path& model : models) {
    SCOPED_TRACE(model);
    const auto source = ModelSource::open(model);
    const auto packed = ModelSource::open(pack(model));
    EXPECT_EQ(prompt_and_token_logits(*packed), prompt_and_token_logits(*source));
    EXPECT_EQ(packed->plan().context, source->plan().context);
    EXPECT_EQ(packed->plan().tied, source->plan().tied);
    EXPECT_EQ(packed->is_quantized(), source->is_quantized());
    EXPECT_EQ(packed->decoder_bits(), source->decoder_bits());
    EXPECT_EQ(packed->file_bits(), source->file_bits());
  }
}

// A checkpoint whose block linears and embedding are in representations.
void write_quantized(const fs::path& folder, const std::string& representation,
                     const std::string& embedding) {
  fs::create_directories(folder);
  const auto base = Checkpoint::open(kTrainedLlama);
  Random random(3);
  std::vector<QuantizedTensor> tensors;
  QuantizedCheckpointContent content;
  content.recipe = OrderedJson::object();
  for (const LinearPlan& matrix : quantizable_matrices(base->plan())) {
    const bool outer = is_outer_matrix(base->plan(), matrix.name);
    const RepresentationSpec spec = parse_representation(outer ? embedding : representation);
    tensors.push_back(random_tensor(spec, matrix.out_features, matrix.in_features, random, 0.05));
    content.specs[matrix.name] = spec;
    for (const TensorView& part : named_parts(tensors.back(), matrix.name))
      content.tensors.push_back(part);
  }
  for (const TensorView& tensor : base->tensors()) {
    const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
    if (!content.specs.contains(module)) content.tensors.push_back(tensor);
  }
  write_quantized_checkpoint(folder, *base, content);
}

TEST_F(PackModel, QuantizedModelsBitForBit) {
  for (const auto& [representation, embedding] : {std::pair{"int4g16", "int8g64"},
                                                  {"aq2x8g8", "int8g0"},
                                                  {"aq1x12g8", "aq1x8g8"},
                                                  {"gvq2d2b-n1024", "gvq2d2b-n512+rows1"},
                                                  {"had:e8p3", "e8p4"},
                                                  {"had-in:int4g16+out1%", "int4g32+rows3"},
                                                  {"int3g16-z+lr4", "int4g16"}}) {
    SCOPED_TRACE(representation);
    const TestFolder folder;
    write_quantized(folder.path() / "q", representation, embedding);
    const auto source = ModelSource::open(folder.path() / "q");
    const auto packed = ModelSource::open(pack(folder.path() / "q"));
    EXPECT_TRUE(packed->is_quantized());
    EXPECT_EQ(prompt_and_token_logits(*packed), prompt_and_token_logits(*source));
  }
}

TEST_F(PackModel, TokenizerAndTemplateComeAlong) {
  const auto packed = Tokenizer::open(pack(kTrainedLlama)), own = Tokenizer::open(kTrainedLlama);
  const std::string text = "Anna has 3 apples.<|im_end|>";
  EXPECT_EQ(packed->encode(text), own->encode(text));
  EXPECT_EQ(packed->chat_template, own->chat_template);
  EXPECT_EQ(packed->eos_id, own->eos_id);
}

TEST_F(PackModel, TheSameBytesEachTime) {
  const std::string first = read_text_file(pack(kTrainedLlama));
  EXPECT_EQ(read_text_file(pack(kTrainedLlama)), first);
  EXPECT_EQ(files(), 1);
}

TEST_F(PackModel, RefusesToReplaceWhatIsNotItsOwn) {
  const fs::path out = pack(kTrainedLlama);
  EXPECT_THROW(pack(kTrainedLlama, /*force=*/false), OutputExists);
  for (const std::string& text : {std::string("mine"), std::string()}) {
    write_file_atomic(out, text);
    EXPECT_THROW(pack(kTrainedLlama), UsageError);
    EXPECT_EQ(read_text_file(out), text);
  }
  fs::remove(out);
  fs::create_directory(out);
  EXPECT_THROW(pack(kTrainedLlama), UsageError);
  fs::remove(out);
  EXPECT_THROW(pack(folder_.path() / "absent"), Error);
  EXPECT_EQ(files(), 0);
}

TEST_F(PackModel, StopsWithoutATrace) {
  CancelFlag flag;
  flag.raise();
  const RunContext context{.cancel = &flag};
  EXPECT_THROW(pack_model(kTrainedLlama, folder_.path() / "m.packed", false, context), Interrupted);
  EXPECT_EQ(files(), 0);
}

TEST_F(PackModel, APackedModelIsNoCheckpoint) {
  const fs::path packed = pack(kTrainedLlama);
  const std::string message = error_of([&] { ModelFiles::open(packed); });
  EXPECT_NE(message.find("packed from"), std::string::npos) << message;
  EXPECT_THROW(pack_model(packed, folder_.path() / "again", false, {}), Error);
}

TEST_F(PackModel, OtherKernelsAreNamedWithTheWayOut) {
  const fs::path path = pack(kTrainedLlama);
  const auto file = PackedFile::open(path);
  OrderedJson about = file->about();
  about["isa"] = "vax";
  const fs::path other = folder_.path() / "other.packed";
  write_packed_file(other, about, {file->arrays().begin(), file->arrays().end()},
                    {{"config.json", std::string(*file->find_text("config.json"))}});
  const std::string message = error_of([&] { ModelSource::open(other); });
  EXPECT_NE(message.find("vax"), std::string::npos) << message;
  EXPECT_NE(message.find("pack the model again"), std::string::npos) << message;
}

// Bytes of the header that say something else: an Error, or a model that runs.
TEST_F(PackModel, DamagedHeaders) {
  const fs::path path = pack(kTrainedLlama), copy = folder_.path() / "copy.packed";
  const std::string bytes = read_text_file(path);
  Random random(1);
  int64_t refused = 0;
  for (int i = 0; i < 100; ++i) {
    std::string damaged = bytes;
    const uint32_t header = std::min<uint32_t>(8192, static_cast<uint32_t>(damaged.size()));
    damaged[random.below(header)] ^= static_cast<char>(1u << random.below(8));
    if (i % 4 == 0) damaged.resize(random.below(static_cast<uint32_t>(damaged.size())));
    write_file_atomic(copy, damaged);
    try {
      prompt_and_token_logits(*ModelSource::open(copy));
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 30);
}

}  // namespace
}  // namespace bitsmith
