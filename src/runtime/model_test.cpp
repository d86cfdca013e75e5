#include "runtime/model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "architecture/test_models.h"
#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "runtime/runtime_language_model.h"

namespace bitsmith {
namespace {

const std::filesystem::path kData = BITSMITH_TESTDATA;
constexpr const char* kModels[] = {"tiny_llama",        "tiny_llama_linear", "tiny_llama3_rope",
                                   "tiny_qwen2",        "tiny_qwen3",        "tiny_mistral",
                                   "tiny_llama_dynamic"};

// A directory, or a GGUF file beside which there is no config.json.
std::filesystem::path model_path(const std::string& name) {
  const auto folder = kData / name;
  return std::filesystem::exists(folder / "config.json") ? folder : folder / "model.gguf";
}

std::vector<std::string> all_models() {
  std::vector<std::string> names(std::begin(kModels), std::end(kModels));
  for (const auto& entry : std::filesystem::directory_iterator(kData / "families")) {
    const std::string name = "families/" + entry.path().filename().string();
    if (name != "families/tiny_opt_350m") names.push_back(name);  // which is refused
  }
  return names;
}

RuntimeModel load(const std::string& name, int threads = 2) {
  return RuntimeModel(load_weights(*ModelFiles::open(model_path(name)), DensePrecision::kExact),
                      threads);
}

// ids [tokens] and logits [tokens, vocab] that transformers computed.
struct Golden {
  std::vector<int32_t> ids;
  std::vector<float> logits;
};

Golden golden(const std::string& name, const std::string& which = "golden") {
  const SafetensorsFile file = open_safetensors(kData / name / (which + ".safetensors"));
  Golden result;
  const TensorView& ids = *file.find("ids");
  for (size_t i = 0; i < ids.bytes.size(); i += sizeof(int64_t)) {
    int64_t id;
    std::memcpy(&id, &ids.bytes[i], sizeof(id));
    result.ids.push_back(static_cast<int32_t>(id));
  }
  const TensorView& logits = *file.find("logits");
  result.logits.resize(logits.bytes.size() / sizeof(float));
  decode_to_float(logits.dtype, logits.bytes, result.logits);
  return result;
}

double relative_error(std::span<const float> actual, std::span<const float> expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double error = 0, norm = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    error += std::pow(double(actual[i]) - expected[i], 2);
    norm += std::pow(double(expected[i]), 2);
  }
  return std::sqrt(error / norm);
}

// Logits of every token of `ids`, run in pieces of the given size; single tokens by the kernels for
// one.
std::vector<float> logits_in_pieces(RuntimeModel& model, std::span<const int32_t> ids, size_t piece,
                                    KvType type = KvType::kFloat32) {
  KvCache cache(model.plan(), std::ssize(ids), type);
  std::vector<float> hidden, out(ids.size() * static_cast<size_t>(model.plan().vocab_size));
  const auto hidden_size = static_cast<size_t>(model.plan().hidden_size);
  if (piece == 1) hidden.resize(ids.size() * hidden_size);
  for (size_t first = 0; first < ids.size(); first += piece) {
    if (piece == 1) {
      const TokenStep row{ids[first], &cache};
      model.forward({&row, 1}, Products::kSingle,
                    std::span(hidden).subspan(first * hidden_size, hidden_size));
      continue;
    }
    model.prefill(ids.subspan(first, std::min(piece, ids.size() - first)), cache,
                  [&](std::span<const float> h) {
                    hidden.insert(hidden.end(), h.begin(), h.end());
                    return true;
                  });
  }
  model.logits(hidden, piece == 1 ? Products::kSingle : Products::kExact, out);
  return out;
}

// Mistral with layer_types is Qwen2 without biases, whose windows the golden logits check.
TEST(RuntimeModel, WindowsFollowLayerTypesInEveryFamily) {
  const testing::TestFolder folder;
  const auto logits = [&](const testing::TestModel& made, const char* name) {
    made.write(folder.path() / name);
    RuntimeModel model(
        load_weights(*ModelFiles::open(folder.path() / name), DensePrecision::kExact), 2);
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 30; ++i) ids.push_back(i * 7 % 20);
    return logits_in_pieces(model, ids, 30);
  };
  Json config = testing::small_config("mistral");
  config["sliding_window"] = 5;
  config["use_sliding_window"] = true;
  std::set<std::vector<float>> all;
  for (const char* first : {"full_attention", "sliding_attention"}) {
    for (const char* second : {"full_attention", "sliding_attention"}) {
      config["layer_types"] = {first, second};
      config["model_type"] = "mistral";
      testing::TestModel mistral = testing::random_model(config);
      config["model_type"] = "qwen2";
      testing::TestModel qwen2 = testing::random_model(config);
      for (auto& [name, values] : qwen2.tensors) {
        if (name.ends_with(".bias"))
          std::fill(values.begin(), values.end(), 0.0f);
        else
          values = mistral.tensors.at(name);
      }
      const auto found = logits(mistral, "mistral");
      EXPECT_LT(relative_error(found, logits(qwen2, "qwen2")), 1e-6) << first << " " << second;
      all.insert(found);
    }
  }
  EXPECT_EQ(all.size(), 4u);
}

TEST(RuntimeModel, GoldenLogits) {
  std::vector<std::string> names = all_models();
  names.push_back("tiny_llama_gguf");
  names.push_back("tiny_llama_trained");
  for (const std::string& name : names) {
    const Golden expected = golden(name);
    const auto model = load_runtime_language_model(model_path(name), {.threads = 2});
    model->run(expected.ids);
    std::vector<float> actual(expected.logits.size());
    const size_t vocab = static_cast<size_t>(model->vocab_size());
    for (size_t i = 0; i < expected.ids.size(); i += 7) {  // in chunks, as callers ask
      const size_t count = std::min<size_t>(7, expected.ids.size() - i);
      model->logits(static_cast<int64_t>(i), static_cast<int64_t>(count),
                    std::span(actual).subspan(i * vocab, count * vocab));
    }
    EXPECT_LT(relative_error(actual, expected.logits), 1e-5) << name;
  }
}

TEST(RuntimeModel, OneTokenAtATimeEqualsTheWholeWindow) {
  for (const std::string& name : all_models()) {
    if (name == "tiny_llama_dynamic") continue;  // its rotation depends on the length known so far
    RuntimeModel model = load(name);
    const auto ids = golden(name).ids;
    const auto whole = logits_in_pieces(model, ids, ids.size());
    EXPECT_LT(relative_error(logits_in_pieces(model, ids, 1), whole), 1e-5) << name;
    EXPECT_LT(relative_error(logits_in_pieces(model, ids, 5), whole), 1e-5) << name;
    EXPECT_LT(relative_error(logits_in_pieces(model, ids, 5, KvType::kFloat16), whole), 2e-3)
        << name;
  }
}

// A sequence of 24 uses the short factors, one of 40 the long ones for all of its positions,
// however it got there.
TEST(RuntimeModel, LongRopeRunsASequenceAgainThatCrossesItsTrainedContext) {
  const std::string name = "families/tiny_phi3_longrope";
  RuntimeModel model = load(name);
  const Golden near = golden(name), far = golden(name, "golden_long");
  EXPECT_LT(relative_error(logits_in_pieces(model, far.ids, 40), far.logits), 1e-5);
  const auto last_of = [](const std::vector<float>& logits) { return std::span(logits).last(384); };
  for (const size_t piece : {1, 7, 32})
    EXPECT_LT(relative_error(last_of(logits_in_pieces(model, far.ids, piece)), last_of(far.logits)),
              1e-5)
        << piece;

  // Token by token, two sequences side by side; then shortened, and continued with another text.
  const auto ignore = [](std::span<const float>) { return true; };
  KvCache cache(model.plan(), 64, KvType::kFloat32), beside(model.plan(), 64, KvType::kFloat32);
  std::vector<float> hidden(2 * 48), out(384);
  const auto expect_last = [&](const Golden& expected) {
    model.logits(std::span(hidden).first(48), Products::kExact, out);
    EXPECT_LT(relative_error(out, last_of(expected.logits)), 1e-5);
  };
  for (const int32_t id : far.ids)
    model.forward(std::vector<TokenStep>{{id, &cache}, {id, &beside}}, Products::kExact, hidden);
  expect_last(far);
  cache.truncate(0);
  model.prefill(near.ids, cache, ignore);
  model.prefill(far.ids, cache, ignore);
  cache.truncate(23);
  model.prefill(std::span(near.ids).last(1), cache, [&](std::span<const float> last) {
    std::copy(last.begin(), last.end(), hidden.begin());
    return true;
  });
  expect_last(near);
}

TEST(RuntimeModel, LearnedPositionsEnd) {
  for (const std::string name : {"families/tiny_gpt2", "families/tiny_opt"}) {
    RuntimeModel model = load(name);
    const std::vector<int32_t> ids(65, 3);
    EXPECT_EQ(logits_in_pieces(model, std::span(ids).first(64), 64).size(), 64u * 384) << name;
    EXPECT_NE(testing::error_of([&] { logits_in_pieces(model, ids, 65); }).find("position 64"),
              std::string::npos)
        << name;
  }
  // The second piece of this prompt goes too far: the first is not run either.
  Json config = read_json_file(kData / "families/tiny_gpt2/config.json");
  config["n_positions"] = 300;
  RuntimeModel model(random_weights(plan_model(config, "config.json"), {}, {}, 1), 1);
  KvCache cache(model.plan(), 400);
  const std::vector<int32_t> ids(301, 3);
  const auto all = [](std::span<const float>) { return true; };
  EXPECT_THROW(model.prefill(ids, cache, all), Error);
  EXPECT_EQ(cache.length(), 0);
  EXPECT_TRUE(model.prefill(std::span(ids).first(300), cache, all));
}

// Longer than kPromptRows: prefill() itself cuts it, and the sliding window of tiny_mistral is long
// passed.
TEST(RuntimeModel, LongPromptIsCutWithoutATrace) {
  for (const std::string name : {"tiny_mistral", "tiny_llama_dynamic"}) {
    RuntimeModel model = load(name);
    std::vector<int32_t> ids;
    for (int i = 0; i < 600; ++i) ids.push_back(i * 7 % 384);
    const auto whole = logits_in_pieces(model, ids, ids.size());
    KvCache cache(model.plan(), 600, KvType::kFloat32);
    cache.rope_length = 600;
    std::vector<TokenStep> rows;
    for (const int32_t id : ids) rows.push_back({id, &cache});
    std::vector<float> hidden(600 * 32), at_once(600 * 384);
    model.forward(rows, Products::kExact, hidden);
    model.logits(hidden, Products::kExact, at_once);
    EXPECT_LT(relative_error(whole, at_once), 1e-5) << name;
  }
}

TEST(RuntimeModel, SequencesSideBySideEqualSingleOnes) {
  RuntimeModel model = load("tiny_qwen3");
  const auto ids = golden("tiny_qwen3").ids;
  constexpr size_t kSequences = 5;
  const size_t hidden_size = 32, steps = 12;
  std::vector<KvCache> caches;
  for (size_t s = 0; s < kSequences; ++s) caches.emplace_back(model.plan(), 64, KvType::kFloat32);
  // Sequence s starts with s extra tokens, so that positions differ.
  const auto token = [&](size_t s, size_t position) {
    return ids[(position + 3 * s) % ids.size()];
  };
  std::vector<float> unused(kSequences * hidden_size);
  for (size_t s = 1; s < kSequences; ++s) {
    std::vector<TokenStep> rows;
    for (size_t p = 0; p < s; ++p) rows.push_back({token(s, p), &caches[s]});
    model.forward(rows, Products::kExact, std::span(unused).first(s * hidden_size));
  }
  std::vector<float> together;  // [steps, sequences, hidden]
  for (size_t step = 0; step < steps; ++step) {
    std::vector<TokenStep> rows;
    for (size_t s = 0; s < kSequences; ++s) rows.push_back({token(s, s + step), &caches[s]});
    std::vector<float> hidden(kSequences * hidden_size);
    model.forward(rows, Products::kExact, hidden);
    together.insert(together.end(), hidden.begin(), hidden.end());
  }
  for (size_t s = 0; s < kSequences; ++s) {
    KvCache cache(model.plan(), 64, KvType::kFloat32);
    std::vector<int32_t> tokens;
    for (size_t p = 0; p < s + steps; ++p) tokens.push_back(token(s, p));
    std::vector<float> alone;
    model.prefill(tokens, cache, [&](std::span<const float> h) {
      alone.insert(alone.end(), h.begin(), h.end());
      return true;
    });
    for (size_t step = 0; step < steps; ++step) {
      const auto a =
          std::span(together).subspan((step * kSequences + s) * hidden_size, hidden_size);
      const auto b = std::span(alone).subspan((s + step) * hidden_size, hidden_size);
      EXPECT_LT(relative_error(a, b), 1e-5) << s << " " << step;
    }
  }
}

// The same bits, whatever rows run beside a row and however a prompt is cut.
TEST(RuntimeModel, RowsDoNotInfluenceEachOther) {
  for (const auto& [name, representation] :
       {std::pair<std::string, std::string>{"tiny_llama_trained", ""},
        {"families/tiny_mixtral", ""},
        {"tiny_llama_trained", "int4g16"},
        {"tiny_llama_trained", "gvq2d2b-n512"},
        {"tiny_llama_trained", "aq2x8g8"},
        {"tiny_llama_trained", "had:e8p"},
        {"families/tiny_mixtral", "int3g16-z"}}) {
    const auto files = ModelFiles::open(model_path(name));
    std::optional<RepresentationSpec> spec;
    if (!representation.empty()) spec = parse_representation(representation);
    RuntimeModel model(spec ? random_weights(files->plan(), spec, {}, 1)
                            : load_weights(*files, DensePrecision::kFast),
                       2);
    const auto width = static_cast<size_t>(model.plan().hidden_size);
    const auto vocab = static_cast<size_t>(model.plan().vocab_size);
    const std::vector<int32_t> ids = {5, 17, 60, 3, 3, 90, 201, 44, 8, 120, 7, 31};
    for (const Products products : {Products::kSingle, Products::kInt8, Products::kExact}) {
      const auto run = [&](size_t piece, size_t beside) {
        std::vector<KvCache> caches;
        for (size_t s = 0; s <= beside; ++s) caches.emplace_back(model.plan(), 64);
        std::vector<float> all, hidden, logits;
        for (size_t first = 0; first < ids.size(); first += piece) {
          const size_t count = std::min(piece, ids.size() - first);
          std::vector<TokenStep> rows;
          for (size_t s = 1; s <= beside; ++s) {
            for (size_t i = 0; i < s; ++i)
              rows.push_back({static_cast<int32_t>(10 * s + first), &caches[s]});
          }
          for (size_t i = 0; i < count; ++i) rows.push_back({ids[first + i], &caches[0]});
          hidden.resize(rows.size() * width);
          logits.resize(rows.size() * vocab);
          model.forward(rows, products, hidden);
          model.logits(hidden, products, logits);
          all.insert(all.end(), logits.end() - static_cast<long>(count * vocab), logits.end());
        }
        return all;
      };
      const auto alone = run(ids.size(), 0);
      EXPECT_EQ(run(1, 0), alone) << name << " " << representation;
      EXPECT_EQ(run(5, 0), alone) << name << " " << representation;
      EXPECT_EQ(run(4, 3), alone) << name << " " << representation;
      EXPECT_EQ(run(1, 2), alone) << name << " " << representation;
    }
  }
}

TEST(RuntimeModel, TruncatedCacheContinuesAsIfNothingElseHadBeen) {
  RuntimeModel model = load("tiny_llama");
  const auto ids = golden("tiny_llama").ids;
  const auto expected = logits_in_pieces(model, ids, ids.size());
  KvCache cache(model.plan(), 64, KvType::kFloat32);
  const auto ignore = [](std::span<const float>) { return true; };
  model.prefill(std::vector<int32_t>{5, 6, 7, 8, 9}, cache, ignore);
  cache.truncate(0);
  model.prefill(std::span(ids).first(10), cache, ignore);
  model.prefill(std::vector<int32_t>{1, 2, 3}, cache, ignore);
  cache.truncate(10);
  std::vector<float> hidden, out((ids.size() - 10) * 384);
  model.prefill(std::span(ids).subspan(10), cache, [&](std::span<const float> h) {
    hidden.assign(h.begin(), h.end());
    return true;
  });
  model.logits(hidden, Products::kExact, out);
  EXPECT_LT(relative_error(out, std::span(expected).subspan(10 * 384)), 1e-6);
}

TEST(RuntimeModel, ThreadsDoNotChangeABit) {
  for (const std::string name : {"tiny_mistral", "families/tiny_mixtral"}) {
    const auto ids = golden(name).ids;
    RuntimeModel one = load(name, 1), three = load(name, 3);
    for (const size_t piece : {size_t{1}, ids.size()})
      EXPECT_EQ(logits_in_pieces(one, ids, piece), logits_in_pieces(three, ids, piece)) << name;
  }
}

TEST(RuntimeModel, TokenOutsideTheVocabulary) {
  const auto model = load_runtime_language_model(kData / "tiny_llama", {});
  EXPECT_THROW(model->run(std::vector<int32_t>{1, 384}), Error);
  EXPECT_THROW(model->run(std::vector<int32_t>{-1}), Error);
}

TEST(RuntimeModel, RandomWeightsOfAShape) {
  for (const char* name : {"tiny_llama", "families/tiny_mixtral", "families/tiny_bloom"}) {
    const ModelPlan plan = ModelFiles::open(kData / name)->plan();
    for (const auto& spec :
         {std::optional<RepresentationSpec>(), std::optional(parse_representation("int4g16")),
          std::optional(parse_representation("aq2x8g8"))}) {
      RuntimeModel model(random_weights(plan, spec, spec, 1), 2);
      const auto logits = logits_in_pieces(model, std::vector<int32_t>{1, 2, 3}, 3);
      for (const float x : logits) ASSERT_TRUE(std::isfinite(x));
      EXPECT_GT(bytes_per_token(model.weights()), 0u);
    }
  }
}

}  // namespace
}  // namespace bitsmith
