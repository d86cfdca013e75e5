#include "pipeline/report/read_report.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/files.h"
#include "checkpoint/test_files.h"
#include "pipeline/report/report_html.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecipe = R"({
  "command": "quantize", "command_line": "bitsmith quantize MODEL -o OUT",
  "model": {"name": "base.gguf", "sha256": "0123456789abcdef"},
  "kl_calibration": 0.125, "kl_heldout": 0.375,
  "calibration": {"windows": 4, "warnings": ["a.txt: absurd"]},
  "layers": [
    {"module": "model.layers.0.mlp.up_proj", "representation": "int4g16", "method": "gptq",
     "relative_error": 0.25, "bits": 5.0},
    {"module": "model.layers.1.mlp.up_proj", "representation": "int4g16", "method": "gptq",
     "relative_error": 0.5, "bits": 5.0}],
  "tune": {"command_line": "bitsmith tune QUANTIZED --teacher MODEL -o OUT", "diverged": true,
           "validations": [{"step": 0, "tokens": 0, "kl": 0.5},
                           {"step": 8, "tokens": 4096, "training_kl": 0.4, "kl": 0.3},
                           {"step": 9, "tokens": 8192, "kl": null}]},
  "judged": {"text": "own text", "sha256": "feedbeef0000", "engine": "runtime", "context": 64,
             "windows": 3, "tokens": 189, "bos": false,
             "original": {"bits": 16, "file_bytes": 1000, "perplexity": 9, "perplexity_error": 1},
             "compressed": {"bits": 4, "file_bytes": 500, "perplexity": 10, "perplexity_error": 1,
                            "kl": 0.1, "kl_error": 0.01, "kl_p99": 2, "top1": 0.8,
                            "top1_error": 0.02},
             "one_shot": {"bits": 4, "file_bytes": 500, "perplexity": 11, "kl": 0.3}}
})";

constexpr const char* kJudgments = R"({
  "model": "/elsewhere/OUT/", "model_sha256": "SHA", "teacher": "m", "teacher_sha256": "TEACHER",
  "engine": "torch", "context": 64, "bos": true, "parse_special": false, "dtype": "float32",
  "text": "/texts/wiki.txt", "windows": 5, "tokens": 315, "perplexity": 12.5,
  "perplexity_error": 0.5, "kl": 0.2, "kl_error": 0.02, "kl_p99": 3, "top1": 0.75,
  "generations": {"prompts": 2, "tokens": 64, "agreeing_tokens": 10, "agreeing_tokens_error": 1,
                  "agreeing_tokens_median": 9, "agreement": 0.5, "repetition": 0.1,
                  "repetition_original": 0, "examples": [{"prompt": "p", "original": "o",
                                                          "model": "m"}]},
  "tasks": [{"task": "piqa", "items": 7, "acc": 0.5, "acc_error": 0.2}],
  "bits": 4, "file_bits": 5, "file_bytes": 600, "warnings": ["wiki.txt: x"]
})";

class ReadReport : public ::testing::Test {
 protected:
  fs::path make_result(const std::string& name, const std::string& recipe = kRecipe) {
    const fs::path folder = own_.path() / name;
    fs::create_directories(folder);
    for (const char* file : {"config.json", "model.safetensors"})
      fs::copy_file(fs::path(BITSMITH_TESTDATA) / "tiny_quantized_v2" / file, folder / file);
    write_file_atomic(folder / "bitsmith.json", recipe);
    return folder;
  }
  fs::path write_judgments(std::string text, const std::string& from = "",
                           const std::string& to = "") {
    if (const size_t at = text.find(from); !from.empty()) text.replace(at, from.size(), to);
    const fs::path file = own_.path() / "judgments.json";
    write_file_atomic(file, text);
    return file;
  }

  const testing::TestFolder own_;
};

uint64_t sum_of(const std::vector<ReportedBytes>& uses) {
  return std::accumulate(uses.begin(), uses.end(), uint64_t{0},
                         [](uint64_t sum, const ReportedBytes& use) { return sum + use.bytes; });
}

TEST_F(ReadReport, TakesWhatTheRecipeAndTheFilesSay) {
  const ReportData data = read_report({make_result("out")}, {});
  ASSERT_EQ(data.results.size(), 1u);
  const ReportedResult& result = data.results[0];
  EXPECT_EQ(result.name, "out");
  EXPECT_EQ(result.sha256.size(), 64u);
  EXPECT_EQ(result.original_name, "base.gguf");
  EXPECT_EQ(result.command_lines.size(), 2u);
  ASSERT_EQ(result.matrices.size(), 2u);
  EXPECT_EQ(result.matrices[1].relative_error, 0.5);
  EXPECT_EQ(result.kl_calibration, 0.125);
  EXPECT_EQ(result.kl_heldout, 0.375);
  EXPECT_EQ(result.kl_before_tuning, 0.3);
  EXPECT_EQ(result.kl_after_tuning, 0.1);
  ASSERT_EQ(result.validations.size(), 2u);
  EXPECT_EQ(result.validations[1].tokens, 4096);
  EXPECT_EQ(result.validations[1].training_kl, 0.4);
  EXPECT_FALSE(result.validations[0].training_kl);
  EXPECT_EQ(result.warnings.size(), 2u);  // of the calibration, and that tuning diverged
  EXPECT_FALSE(result.recipe.contains("layers"));
  EXPECT_FALSE(result.recipe.contains("kl_heldout"));
  EXPECT_TRUE(result.recipe.contains("calibration"));
  ASSERT_EQ(result.texts.size(), 1u);
  EXPECT_EQ(result.texts[0].protocol,
            "3 windows of 64 tokens, without BOS, runtime, windows feedbeef");
  EXPECT_EQ(result.texts[0].kl->value, 0.1);
  ASSERT_EQ(data.originals.size(), 1u);
  EXPECT_EQ(data.originals[0].file_bytes, 1000u);
  EXPECT_EQ(data.originals[0].texts.at(0).perplexity.value, 9);
}

TEST_F(ReadReport, DividesAllBytesOfTheFileTwice) {
  const ReportedResult result = read_report({make_result("out")}, {}).results[0];
  EXPECT_EQ(result.file_bytes, fs::file_size(own_.path() / "out/model.safetensors"));
  EXPECT_EQ(sum_of(result.places), result.file_bytes);
  EXPECT_EQ(sum_of(result.parts), result.file_bytes);
  const auto bytes = [](const std::vector<ReportedBytes>& uses, const std::string& name) {
    for (const ReportedBytes& use : uses)
      if (use.use == name) return use.bytes;
    return uint64_t{0};
  };
  // int8g32 of [384, 32]: a byte a weight and an F16 a group.
  EXPECT_EQ(bytes(result.places, "embedding"), 384u * 32 + 384 * 2);
  EXPECT_EQ(bytes(result.places, "head"), 0u);  // tied
  for (const char* name : {"attention", "MLP", "norms and the rest", "headers"})
    EXPECT_GT(bytes(result.places, name), 0u) << name;
  for (const char* name : {"codes", "codebooks", "scales", "dense"})
    EXPECT_GT(bytes(result.parts, name), 0u) << name;
}

TEST_F(ReadReport, MatchesJudgmentsByHash) {
  const fs::path one = make_result("one");
  const std::string sha = read_result(one).result.sha256;
  const ReportData data =
      read_report({one}, {write_judgments(kJudgments, "\"SHA\"", "\"" + sha + "\"")});
  const ReportedResult& result = data.results[0];
  ASSERT_EQ(result.texts.size(), 2u);
  EXPECT_EQ(result.texts[1].text, "wiki.txt");
  EXPECT_EQ(result.texts[1].protocol, "5 windows of 64 tokens, beginning with BOS, torch float32");
  EXPECT_EQ(result.texts[1].top1->value, 0.75);
  EXPECT_FALSE(result.texts[1].top1->error);
  EXPECT_EQ(result.texts[1].generations->examples.size(), 1u);
  ASSERT_EQ(result.tasks.size(), 1u);
  EXPECT_EQ(result.tasks[0].accuracy->error, 0.2);
  EXPECT_FALSE(result.tasks[0].accuracy_norm);
  // The recipe's two, the output's one, and that the teacher is another model.
  ASSERT_EQ(result.warnings.size(), 4u);
  EXPECT_NE(result.warnings[3].find("judgments.json judges it against another"), std::string::npos);
}

TEST_F(ReadReport, MatchesOriginalsAndNames) {
  const fs::path one = make_result("OUT");
  const ReportData of_original =
      read_report({one}, {write_judgments(kJudgments, "\"SHA\"", "\"0123456789abcdef\"")});
  EXPECT_EQ(of_original.results[0].texts.size(), 1u);
  EXPECT_EQ(of_original.originals.at(0).texts.size(), 2u);
  EXPECT_EQ(of_original.originals.at(0).file_bytes, 600u);
  const ReportData by_name =
      read_report({one}, {write_judgments(kJudgments, "\"model_sha256\": \"SHA\",", "")});
  EXPECT_EQ(by_name.results[0].texts.size(), 2u);
  EXPECT_THROW(read_report({one}, {write_judgments(kJudgments)}), UsageError);
}

TEST_F(ReadReport, TellsEqualNamesApart) {
  const ReportData data = read_report(
      {make_result("a/out"), make_result("b/out"), own_.path() / "b/out/", make_result("other")},
      {});
  std::vector<std::string> names;
  for (const ReportedResult& result : data.results) names.push_back(result.name);
  EXPECT_EQ(names, (std::vector<std::string>{"a/out", "b/out", "b/out (2)", "other"}));
  ASSERT_EQ(data.originals.size(), 1u);
  EXPECT_EQ(data.originals[0].texts.size(), 1u);  // the same in all four recipes
}

// Else no axis could span such a number and a large one.
TEST_F(ReadReport, TakesWhatIsNextToNothingAsZero) {
  const ReportData data = read_report({make_result("out", R"({"tune": {"validations": [
      {"tokens": 1, "kl": 4e-320}, {"tokens": 2, "kl": 9e17}]}})")},
                                      {});
  EXPECT_EQ(data.results[0].validations.at(0).kl, 0);
  EXPECT_EQ(data.results[0].validations.at(1).kl, 9e17);
  EXPECT_NE(report_html(data).find("KL while tuning"), std::string::npos);
}

TEST_F(ReadReport, KnowsEarlierTunes) {
  const ReportData data = read_report(
      {make_result("out", R"({"command_line": "first", "tune": {"command_line": "third"},
                              "earlier_tunes": [{"command_line": "second", "seed": 1,
                                                 "validations": []}]})")},
      {});
  EXPECT_EQ(data.results[0].command_lines, (std::vector<std::string>{"first", "second", "third"}));
  EXPECT_EQ(data.results[0].recipe.at("earlier_tunes").dump(), R"([{"seed":1}])");
}

TEST_F(ReadReport, RefusesDamagedFiles) {
  const auto refusal = [&](const std::string& recipe) {
    fs::remove_all(own_.path() / "out");
    const fs::path folder = make_result("out", recipe);
    return testing::error_of([&] { read_report({folder}, {}); });
  };
  EXPECT_NE(refusal("[]").find("bitsmith.json"), std::string::npos);
  EXPECT_NE(refusal(R"({"layers": 3})").find("layers"), std::string::npos);
  EXPECT_NE(refusal(R"({"layers": [{"module": 1}]})").find("module"), std::string::npos);
  EXPECT_NE(refusal(R"({"tune": {"validations": [{"tokens": 1, "kl": 1e300}]}})").find("'kl'"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"earlier_tunes": 1})").find("earlier_tunes"), std::string::npos);
  EXPECT_NE(refusal(R"({"judged": {"original": 1}})").find("bitsmith.json"), std::string::npos);
  EXPECT_TRUE(read_report({make_result("plain", "{}")}, {}).originals.empty());
  fs::remove(own_.path() / "plain/bitsmith.json");
  EXPECT_NE(
      testing::error_of([&] { read_report({own_.path() / "plain"}, {}); }).find("no bitsmith.json"),
      std::string::npos);
  const fs::path one = make_result("one");
  EXPECT_THROW(read_report({one}, {write_judgments("{}")}), Error);
  EXPECT_THROW(read_report({one}, {write_judgments("[1]")}), Error);
  EXPECT_THROW(read_report({one}, {write_judgments("<html>")}), Error);
}

}  // namespace
}  // namespace bitsmith
