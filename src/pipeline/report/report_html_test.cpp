#include "pipeline/report/report_html.h"

#include <gtest/gtest.h>

#include <string_view>

namespace bitsmith {
namespace {

bool has(std::string_view page, std::string_view part) { return page.find(part) != page.npos; }

ReportedResult result_named(const std::string& name, double kl, uint64_t bytes) {
  ReportedResult result;
  result.name = name;
  result.file_bytes = bytes;
  result.decoder_bits = 3.125;
  result.file_bits = 4.5;
  result.texts.push_back(
      {.text = "wiki.txt", .protocol = "12 windows", .perplexity = {20.5, 0.25}});
  result.texts[0].kl = {kl, 0.001};
  result.texts[0].top1 = {0.875, 0.01};
  result.places = {{"embedding", bytes / 2}, {"MLP", bytes / 2}};
  result.parts = {{"codes", bytes}};
  for (int block = 0; block < 3; ++block) {
    const std::string prefix = "model.layers." + std::to_string(block);
    result.matrices.push_back({prefix + ".mlp.up_proj", "int4g64", "gptq", 0.01 * (block + 1), 4});
    for (const char* expert : {"0", "1"})
      result.matrices.push_back(
          {prefix + ".mlp.experts." + expert + ".w1", "int4g64", "gptq", 0.02, 4});
  }
  result.matrices.push_back({"model.embed_tokens", "int8g64", "rtn", 0.001, 8});
  return result;
}

ReportData two_results() {
  ReportData data;
  data.originals.push_back({.name = "base.gguf", .file_bytes = 98'400'000});
  data.results = {result_named("three", 0.25, 58'000'000), result_named("four", 0.01, 71'000'000)};
  data.results[0].command_lines = {"bitsmith quantize MODEL --keep 'a b' -o OUT"};
  data.results[0].original_name = "base.gguf";
  data.results[1].warnings = {"the text is absurd"};
  data.results[1].validations = {{0, 0.5, {}}, {4096, 0.25, 0.3}};
  return data;
}

TEST(ReportHtml, ShowsAllResults) {
  const std::string page = report_html(two_results());
  for (const char* part :
       {"<!DOCTYPE html>", ">three<", ">four<", "original: base.gguf", ">58.0<", ">71.0<", ">98.4<",
        ">3.125<", ">0.2500 ", ">87.50 ", "KL on wiki.txt", "12 windows", "mlp.up_proj",
        "experts.w1", "KL while tuning", "embedding: 29.0 MB (50.0 %)",
        "bitsmith quantize MODEL --keep &#39;a b&#39; -o OUT", "the text is absurd"})
    EXPECT_TRUE(has(page, part)) << part;
  for (const char* part : {"http:", "https:", "<script", "src=", "url(", "Zero-shot", "Greedy"})
    EXPECT_FALSE(has(page, part)) << part;
}

TEST(ReportHtml, ShowsWhatWasLearnedByHeart) {
  ReportData data = two_results();
  EXPECT_EQ(gap_section(data), "");
  data.results[0].kl_calibration = 0.125;
  data.results[1].kl_calibration = 0.25;
  data.results[1].kl_heldout = 0.375;
  EXPECT_TRUE(has(gap_section(data), "<td>three</td><td>0.1250</td><td>&#8211;</td>"));
  EXPECT_TRUE(has(report_html(data), "<td>four</td><td>0.2500</td><td>0.3750</td>"));
  data.results[0].kl_before_tuning = 0.5;
  data.results[0].kl_after_tuning = 0.0625;
  EXPECT_TRUE(has(gap_section(data), "<td>0.5000</td><td>0.0625</td>"));
}

TEST(ReportHtml, SectionsWithoutContentAreLeftOut) {
  ReportData data;
  data.results.emplace_back().name = "bare";
  const std::string page = report_html(data);
  EXPECT_TRUE(has(page, "bare"));
  for (const char* part : {"<svg", "Tuning", "Relative error of", "Warnings", "KL against"})
    EXPECT_FALSE(has(page, part)) << part;
}

TEST(ReportHtml, NothingOfAFileIsReadAsHtml) {
  const std::string bad = "<script>alert(1)</script>\"'><img src=x onerror=y>";
  ReportData data = two_results();
  ReportedResult& result = data.results[0];
  data.originals[0].name = result.name = result.original_name = bad;
  result.original_sha256 = result.texts[0].text = result.texts[0].protocol = bad;
  result.command_lines = result.warnings = {bad};
  result.recipe = {{bad, bad}};
  result.places[0].use = result.parts[0].use = bad;
  result.validations = {{0, 1, {}}};
  for (ReportedMatrix& matrix : result.matrices)
    matrix.module = matrix.representation = matrix.method = "model.layers.1." + bad;
  result.tasks.push_back({.task = bad, .items = 1});
  result.texts[0].generations.emplace().examples = {{bad, bad, bad}};
  const std::string page = report_html(data);
  EXPECT_FALSE(has(page, "<script"));
  EXPECT_FALSE(has(page, "<img"));
  EXPECT_FALSE(has(page, "\"'>"));
  EXPECT_TRUE(has(page, "&lt;script&gt;alert(1)"));
  EXPECT_TRUE(has(page, "Zero-shot tasks"));
  EXPECT_TRUE(has(page, "Greedy continuations"));
}

TEST(ReportHtml, ExpertsOfABlockAreOnePoint) {
  const std::string part = errors_section(two_results());
  // Two kinds, two results, three blocks; the embedding is in no curve.
  size_t circles = 0;
  for (size_t at = part.find("<circle"); at != part.npos; at = part.find("<circle", at + 1))
    ++circles;
  EXPECT_EQ(circles, 12u);
  EXPECT_TRUE(has(part, "model.embed_tokens"));  // in the table
}

}  // namespace
}  // namespace bitsmith
