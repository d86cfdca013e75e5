#include "compressor/budget/budget.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "compressor/budget/budget_units.h"
#include "compressor/budget/judged_model.h"
#include "compressor/budget/measurement_plan.h"
#include "compressor/budget/sensitivity.h"
#include "compressor/budget/target.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/quantize_model/streamed_kl.h"
#include "compressor/quantize_model/test_quantize_model.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

// Raises the flag at an update of the task, counted from 0.
class StopAtUpdate : public ProgressSink {
 public:
  StopAtUpdate(CancelFlag& flag, const std::string& task, int updates)
      : flag_(flag), task_(task), left_(updates) {}
  void begin(const std::string& task) override { here_ = task == task_; }
  void update(double, const std::string&) override {
    if (here_ && left_-- == 0) flag_.raise();
  }
  void end() override { here_ = false; }

 private:
  CancelFlag& flag_;
  std::string task_;
  int left_;
  bool here_ = false;
};

class BudgetTest : public testing::QuantizeModelTest {
 protected:
  void SetUp() override {
    QuantizeModelTest::SetUp();
    parse_option("int2g16,int3g16,int4g16,int8g16", budget_.candidates);
    parse_option("int3g16,int4g16,int8g16", budget_.embedding_candidates);
  }
  std::vector<BudgetUnit> units(const ModelFiles& files) const {
    return budget_units(files.plan(), options_, budget_, {});
  }
  // Bytes of the smallest or largest result, share 0 or 1, or between.
  uint64_t size_at(const std::string& name, double share) {
    const std::string least = refusal(name, 1);
    const size_t colon = least.find("come to: ");
    const double from = 1e6 * std::stod(least.substr(colon + 9)),
                 to = 1e6 * std::stod(least.substr(least.find(" to ", colon + 9) + 4));
    return static_cast<uint64_t>(std::llround(from + share * (to - from)));
  }
  // What a request for so many bytes is refused by.
  std::string refusal(const std::string& name, uint64_t bytes) {
    budget_.target_size.bytes = bytes;
    try {
      check_budget_request(*model(name), options_, budget_, {.threads = 2});
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  }
  BudgetOutcome to_target(const std::string& name, const std::string& out) {
    const auto files = model(name);
    const fs::path place = folder_ / out;
    check_budget_request(*files, options_, budget_, {.threads = 2});
    WorkFolder work(place, false, budget_request(*files, options_, budget_, {{"command", "test"}}));
    return quantize_to_budget(files, data(*files), options_, budget_, work,
                              place.string() + ".quantize.jsonl",
                              {.progress = progress_, .cancel = &cancel_});
  }

  BudgetOptions budget_;
};

TEST_F(BudgetTest, UnitsAreWhatIsLeftOpen) {
  const auto files = model("tiny_llama_trained");
  budget_.target_size.bytes = 1;
  std::vector<BudgetUnit> found = units(*files);
  ASSERT_EQ(found.size(), 21u);  // five a block, and the tied embedding
  EXPECT_EQ(found[0].name, "block 0 q_proj+k_proj");
  EXPECT_EQ(found[0].matrices.size(), 2u);
  EXPECT_EQ(found[1].name, "block 0 v_proj");
  EXPECT_EQ(found[3].part, "gate_proj+up_proj");
  EXPECT_EQ(found[20].name, "model.embed_tokens");
  EXPECT_EQ(found[20].candidates.size(), 3u);
  EXPECT_TRUE(std::is_sorted(found[0].bytes.begin(), found[0].bytes.end()));

  options_.keep = {"layers.0"};
  options_.overrides = {{"k_proj", parse_representation("int4g16")}};
  options_.embedding.bits = 8;
  found = units(*files);
  ASSERT_EQ(found.size(), 15u);
  EXPECT_EQ(found[0].name, "block 1 q_proj");
  const QuantizeModelOptions defaults;
  options_ = defaults;
  budget_.target_size.bytes = 0;
  budget_.target_bits = 3;  // of the blocks: embedding and head as --embedding says
  EXPECT_EQ(units(*files).size(), 20u);
  // Candidates that do not fit a unit are left out of it; one must fit.
  parse_option("int2g16,int4g192", budget_.candidates);
  EXPECT_EQ(units(*files)[0].candidates.size(), 1u);
  EXPECT_EQ(units(*files)[4].candidates.size(), 2u);  // 192 inputs
  parse_option("int4g192", budget_.candidates);
  EXPECT_THROW(units(*files), UsageError);
}

TEST_F(BudgetTest, TheOriginalHasNoKl) {
  const auto files = model("tiny_qwen3");
  const torch::Tensor windows = data(*files, 4).train;
  JudgedModel judged(files, windows);
  const auto weight = [&](const std::string& module) {
    return read_matrix(*files, module, torch::kFloat32);
  };
  const std::string linear = "model.layers.1.mlp.down_proj";
  EXPECT_EQ(judged.kl_of_block(0, {}), 0);
  EXPECT_EQ(judged.kl_of_block(1, {{linear, weight(linear)}}), 0);
  EXPECT_GT(judged.kl_of_block(1, {{linear, 2 * weight(linear)}}), 1e-6);
  EXPECT_EQ(judged.kl_of_block(1, {}), 0);  // it was put back
  for (const std::string outer : {"model.embed_tokens", "lm_head"}) {
    EXPECT_EQ(judged.kl_of_outer(outer, weight(outer)), 0);
    EXPECT_GT(judged.kl_of_outer(outer, weight(outer).roll(1, 0)), 1e-3);
  }
}

// What comes before a changed block is the original's and is kept: no bit hangs on that.
TEST_F(BudgetTest, KeptInputsGiveTheKlOfAWholePass) {
  const torch::NoGradGuard no_grad;
  const auto files = model("tiny_llama_trained");
  const torch::Tensor windows = data(*files, 4).train;
  JudgedModel judged(files, windows);
  const auto decoder = Decoder::load(files, torch::kFloat32);
  const OutputHead head = decoder->head();
  const torch::Tensor teacher = scored_states(decoder->hidden_states(windows));
  for (const int64_t block : {0, 1, 3}) {
    SCOPED_TRACE(block);
    Linear* linear = decoder->blocks()[static_cast<size_t>(block)]->linears().back();
    const torch::Tensor original = linear->weight, changed = 1.1 * original;
    linear->weight = changed;
    const double whole =
        mean_kl(teacher, head, scored_states(decoder->hidden_states(windows)), head);
    linear->weight = original;
    EXPECT_GT(whole, 1e-7);
    EXPECT_EQ(judged.kl_of_block(block, {{linear->name, changed}}), whole);
  }
}

// A row says what the model has that is quantized so.
TEST_F(BudgetTest, MeasuredKlIsThatOfTheModelWithOneUnitQuantized) {
  const auto files = model("tiny_llama_trained");
  options_.method = Method::kRtn;
  budget_.target_size.bytes = 1;
  budget_.measured = 4;
  const std::vector<BudgetUnit> found = units(*files);
  const TokenDataset text = data(*files);
  const SensitivityData windows = sensitivity_data(text, budget_.windows);
  SensitivityRows rows(folder_ / "rows.jsonl", {{"test", 1}});
  const MeasurementPlan plan = measurement_plan(found, budget_.measured);
  measure_sensitivity(files, found, plan, windows, options_, rows, {});
  const auto kl_of = [&](const std::string& keep, const std::string& out) {
    options_.keep = {keep};
    options_.representation = parse_representation("int2g16");
    quantize(files, text, folder_ / out);
    return *streamed_kl(files, ModelFiles::open(folder_ / out), {windows.judged}, torch::kFloat32,
                        {})
                .front();
  };
  const double of_block = kl_of("embed|layers.[023]|self_attn|down", "block");
  EXPECT_NEAR(*rows.find("block 1 gate_proj+up_proj", "int2g16")->kl, of_block, 1e-3 * of_block);
  options_.embedding.representation = parse_representation("int3g16");
  const double of_embedding = kl_of("layers", "embedding");
  EXPECT_NEAR(*rows.find("model.embed_tokens", "int3g16")->kl, of_embedding, 1e-3 * of_embedding);
  // More bits, less KL, by all that is measured.
  for (const AllocationUnit& unit : allocation_units(found, plan, rows))
    EXPECT_TRUE(std::is_sorted(unit.kl.rbegin(), unit.kl.rend()));
}

// What the choice stands on: rounding errors of two units are independent, so that the cross terms
// of KL vanish on average. In one result they do not: the ratio has a factor of two either way
// here.
TEST_F(BudgetTest, KlOfSmallErrorsAddsUpOnAverage) {
  const auto files = model("tiny_llama_trained");
  options_.method = Method::kRtn;
  budget_.target_size.bytes = 1;
  const TokenDataset text = data(*files);
  const SensitivityData windows = sensitivity_data(text, budget_.windows);
  const std::vector<std::string> formats = {"int5g16", "int5g32", "int6g16", "int6g32",
                                            "int7g16", "int7g32", "int8g16", "int8g32"};
  double log_ratios = 0;
  for (const std::string& format : formats) {
    const QuantizeModelOptions defaults;
    options_.embedding = defaults.embedding;
    options_.representation = parse_representation(format);
    parse_option(format, budget_.candidates);
    parse_option(format, budget_.embedding_candidates);
    const std::vector<BudgetUnit> found = units(*files);
    const MeasurementPlan plan = measurement_plan(found, 1);
    SensitivityRows rows(folder_ / (format + ".jsonl"), {{"test", 1}});
    measure_sensitivity(files, found, plan, windows, options_, rows, {});
    double sum = 0;
    for (const AllocationUnit& unit : allocation_units(found, plan, rows)) sum += unit.kl[0];
    options_.embedding.representation = options_.representation;
    quantize(files, text, folder_ / format);
    const double whole = *streamed_kl(files, ModelFiles::open(folder_ / format), {windows.judged},
                                      torch::kFloat32, {})
                              .front();
    log_ratios += std::log(whole / sum);
  }
  EXPECT_LT(std::abs(log_ratios / static_cast<double>(formats.size())), std::log(1.5));
}

TEST_F(BudgetTest, LaddersThatWereNotMadeFollowFromThoseOfLikeUnits) {
  const auto files = ModelFiles::open(deep_model(12));
  budget_.target_bits = 4;
  const std::vector<BudgetUnit> found = units(*files);
  const std::vector<std::vector<size_t>> families = like_units(found);
  ASSERT_EQ(families.size(), 5u);
  for (const std::vector<size_t>& family : families) EXPECT_EQ(family.size(), 12u);
  const MeasurementPlan plan = measurement_plan(found, 1);
  MeasurementPlan everything = plan;
  std::map<Measurement, int> counts;
  for (std::vector<Measurement>& unit : everything) {
    for (Measurement& wanted : unit) {
      ++counts[wanted];
      if (wanted == Measurement::kNone) wanted = Measurement::kError;
    }
  }
  EXPECT_EQ(counts[Measurement::kKl], 60);            // one a unit
  EXPECT_EQ(counts[Measurement::kError], 5 * 4 * 3);  // in four blocks of twelve
  EXPECT_EQ(counts[Measurement::kNone], 5 * (12 - 4) * 3);

  SensitivityRows rows(folder_ / "rows.jsonl", {{"test", 1}});
  const SensitivityData windows = sensitivity_data(data(*files), budget_.windows);
  measure_sensitivity(files, found, plan, windows, options_, rows, {});
  EXPECT_TRUE(all_measured(found, plan, rows));
  EXPECT_FALSE(all_measured(found, everything, rows));
  const auto followed = allocation_units(found, plan, rows);
  measure_sensitivity(files, found, everything, windows, options_, rows, {});
  const auto made = allocation_units(found, everything, rows);
  for (size_t u = 0; u < found.size(); ++u) {
    SCOPED_TRACE(found[u].name);
    for (size_t c = 0; c < made[u].kl.size(); ++c)
      EXPECT_NEAR(followed[u].kl[c], made[u].kl[c], 0.25 * made[u].kl[c]) << c;
    // Rows that the plan does not ask for change nothing.
    EXPECT_EQ(allocation_units(found, plan, rows)[u].kl, followed[u].kl);
  }
}

// Tied and not, kinds with different parts: headers count too.
TEST_F(BudgetTest, PredictedBytesAreThoseOfTheFile) {
  parse_option("gvq2d2b-n256,aq1x4g8,int4g16,int8g16", budget_.candidates);
  for (const char* name : {"tiny_llama", "tiny_qwen3"}) {
    for (const double share : {0.0, 0.3, 0.6}) {
      SCOPED_TRACE(concat(name, " ", share));
      budget_.target_size.bytes = size_at(name, share);
      const BudgetOutcome outcome = to_target(name, concat(name, share));
      EXPECT_EQ(outcome.budget.at("predicted_bytes"), outcome.result->file_bytes);
      EXPECT_LE(outcome.result->file_bytes, budget_.target_size.bytes);
      EXPECT_NEAR(outcome.budget.at("decoder_bits").get<double>(), outcome.result->decoder_bits,
                  1e-9);
    }
  }
}

TEST_F(BudgetTest, TheFileEndsJustBelowTheTarget) {
  parse_option("int2g16,int3g16,int4g16,int5g16,int6g16,int8g16", budget_.candidates);
  double before = std::numeric_limits<double>::infinity();
  for (const double share : {0.25, 0.5, 0.75}) {
    budget_.target_size.bytes = size_at("tiny_llama_trained", share);
    const BudgetOutcome outcome = to_target("tiny_llama_trained", concat("at", share));
    const auto bytes = static_cast<double>(outcome.result->file_bytes),
               target = static_cast<double>(budget_.target_size.bytes);
    EXPECT_LE(bytes, target);
    EXPECT_GT(bytes, 0.995 * target);
    const double kl = outcome.budget.at("kl").get<double>();
    EXPECT_LT(kl, before);
    before = kl;
    // What was chosen is in the file, and the recipe tells it.
    const auto made = ModelFiles::open(folder_ / concat("at", share));
    const OrderedJson saved = read_budget(folder_ / concat("at", share));
    EXPECT_EQ(saved.at("kl"), outcome.budget.at("kl"));
    EXPECT_EQ(saved.at("units").size(), 21u);
    const OrderedJson& first = saved.at("units")[0];
    EXPECT_EQ(short_name(*made->spec("model.layers.0.self_attn.q_proj"), 64, 64),
              first.at("representation").get<std::string>());
    EXPECT_NE(budget_table(saved).find("| block | q_proj+k_proj |"), std::string::npos);
    EXPECT_NE(budget_line(saved).find("KL of the result"), std::string::npos);
  }
}

TEST_F(BudgetTest, TargetsOfBitsAndOfKl) {
  budget_.target_bits = 4;
  const BudgetOutcome bits = to_target("tiny_llama_trained", "bits");
  EXPECT_LE(bits.result->decoder_bits, 4);
  EXPECT_GT(bits.result->decoder_bits, 3.95);
  EXPECT_FALSE(ModelFiles::open(folder_ / "bits")->spec("model.embed_tokens"));
  budget_.target_bits = 0;
  uint64_t before = std::numeric_limits<uint64_t>::max();
  for (const double kl : {0.05, 0.2}) {
    budget_.target_kl = kl;
    const BudgetOutcome outcome = to_target("tiny_llama_trained", concat("kl", kl));
    EXPECT_LE(outcome.budget.at("predicted_kl").get<double>(), kl);
    EXPECT_LT(outcome.result->file_bytes, before);
    before = outcome.result->file_bytes;
  }
  budget_.target_kl = 1e-6;  // known to be too little only when all is measured
  EXPECT_THROW(to_target("tiny_llama_trained", "never"), UsageError);
}

TEST_F(BudgetTest, InterruptedWorkGoesOnToTheSameBytes) {
  budget_.target_size.bytes = size_at("tiny_llama_trained", 0.5);
  to_target("tiny_llama_trained", "whole");
  const auto expected = testing::folder_hashes(folder_ / "whole");
  for (const auto& [task, updates] :
       {std::pair("measuring", 0), std::pair("measuring", 7), std::pair("quantizing", 3)}) {
    StopAtUpdate stop(cancel_, task, updates);
    progress_ = &stop;
    EXPECT_THROW(to_target("tiny_llama_trained", "stopped"), Interrupted);
    cancel_.clear();
    progress_ = nullptr;
  }
  to_target("tiny_llama_trained", "stopped");
  EXPECT_EQ(testing::folder_hashes(folder_ / "stopped"), expected);
  // A plan, then the same without --plan-only; measurements of another target's run.
  budget_.measurements = (folder_ / "whole.sensitivity.jsonl").string();
  const auto measured = read_text_file(budget_.measurements);
  budget_.plan_only = true;
  EXPECT_FALSE(to_target("tiny_llama_trained", "planned").result);
  EXPECT_FALSE(fs::exists(folder_ / "planned"));
  budget_.plan_only = false;
  to_target("tiny_llama_trained", "planned");
  EXPECT_EQ(testing::folder_hashes(folder_ / "planned"), expected);
  budget_.target_size.bytes = size_at("tiny_llama_trained", 0.4);
  to_target("tiny_llama_trained", "other");
  EXPECT_EQ(read_text_file(budget_.measurements), measured);
}

TEST_F(BudgetTest, WhatCannotBeIsRefusedBeforeTheWork) {
  const auto refused = [&](const char* says) {
    try {
      check_budget_request(*model("tiny_llama"), options_, budget_, {.threads = 2});
      ADD_FAILURE() << says;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
  };
  refused("one target");
  budget_.target_size.bytes = 1000;
  refused("below what the candidates can come to");
  budget_.target_size.bytes = 1'000'000'000;
  refused("above what the candidates can come to");
  budget_.target_bits = 3;
  refused("one target");
  budget_.target_size.bytes = 0;
  budget_.target_bits = 1;
  refused("below what the candidates can come to: 3.000 bits");
  options_.method = Method::kGptq;
  refused("gptq is not for all");
  options_.method = {};
  options_.objective = ErrorMeasure::kKronecker;
  options_.linear.max_rounds = 0;
  budget_.target_bits = 3.5;
  budget_.candidates.specs = {parse_representation("int3g16"), parse_representation("aq1x4g8"),
                              parse_representation("int4g16")};
  refused("aqlm needs rounds");
  options_.objective = ErrorMeasure::kLayer;
  options_.keep = {"."};
  EXPECT_THROW(check_budget_request(*model("tiny_llama"), options_, budget_, {}), UsageError);
  EXPECT_TRUE(nothing_left());
}

TEST(MeasuredCandidates, AreSpreadInsideTheLadder) {
  EXPECT_EQ(measured_candidates(8, 1), (std::vector<bool>{0, 0, 0, 1, 0, 0, 0, 0}));
  EXPECT_EQ(measured_candidates(8, 2), (std::vector<bool>{0, 0, 1, 0, 1, 0, 0, 0}));
  EXPECT_EQ(measured_candidates(2, 1), (std::vector<bool>{1, 0}));
  EXPECT_EQ(measured_candidates(1, 1), std::vector<bool>{1});
  EXPECT_EQ(measured_candidates(3, 9), (std::vector<bool>{1, 1, 1}));
}

}  // namespace
}  // namespace bitsmith
