// Every struct of options declares all of its members, and each one changes the recipe.
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <type_traits>

#include "pipeline/compressor/compress.h"
#include "pipeline/compressor/quantize.h"
#include "pipeline/compressor/tune.h"

namespace bitsmith {
namespace {

// Becomes a member of any type. The second one leaves the choice to optional<enum>, which could
// else be made of either.
struct Any {
  template <typename T>
  operator T() const;
};
struct AnyButEnum {
  template <typename T>
  requires(!std::is_enum_v<T>) operator T() const;
};

template <typename T, typename... Members>
constexpr size_t member_count() {
  if constexpr (requires { T{Members{}..., Any{}}; }) {
    return member_count<T, Members..., Any>();
  } else if constexpr (requires { T{Members{}..., AnyButEnum{}}; }) {
    return member_count<T, Members..., AnyButEnum>();
  } else {
    return sizeof...(Members);
  }
}

struct Declared {
  std::set<const void*> members;
  std::set<std::string> keys;
  template <typename T>
  void operator()(const Option& option, const T& value) {
    constant(value);
    EXPECT_TRUE(keys.insert(option.key).second) << option.key;
  }
  template <typename T>
  void constant(const T& value) {
    EXPECT_TRUE(members.insert(&value).second);
  }
  template <typename T>
  void derived(const char*, const T&) {}
};

template <typename Options>
size_t declared_members() {
  const Options options;
  Declared declared;
  Options::visit(options, declared);
  return declared.members.size();
}

TEST(Options, EveryMemberIsDeclared) {
  EXPECT_EQ(declared_members<QuantizeOptions>(), member_count<QuantizeOptions>());
  // `linear` stands for its members.
  EXPECT_EQ(declared_members<QuantizeModelOptions>(),
            member_count<QuantizeModelOptions>() - 1 + member_count<QuantizeOptions>());
  EXPECT_EQ(declared_members<BlockFinetuneOptions>(), member_count<BlockFinetuneOptions>());
  EXPECT_EQ(declared_members<TuneOptions>(),
            member_count<TuneOptions>() - 5 + member_count<RateSchedule>() +
                member_count<PStepOptions>() - 1 + 2 * member_count<AdamOptions>() +
                member_count<LossOptions>() + member_count<VSchedule>() +
                member_count<SubspaceOptions>() + member_count<LatentOptions>() +
                member_count<StochasticRoundingOptions>() + 1 + member_count<CodePassOptions>());
  EXPECT_EQ(declared_members<CompressOptions>(), member_count<CompressOptions>());
  EXPECT_EQ(declared_members<BudgetOptions>(), member_count<BudgetOptions>());
}

void change(std::string& value) { value += "x"; }
void change(RepresentationSpec& value) { value = parse_representation("int2g8"); }
void change(EmbeddingChoice& value) { value.representation = parse_representation("int2g8"); }
void change(ByteSize& value) { value.bytes += 1; }
void change(CandidateList& value) { value.specs.push_back(parse_representation("int2g8")); }
void change(std::optional<Method>& value) { value = Method::kRtn; }
void change(std::vector<std::string>& value) { value.push_back("x"); }
void change(std::vector<Override>& value) { value.push_back({"x", RepresentationSpec()}); }
template <typename T>
requires std::is_arithmetic_v<T> || std::is_enum_v<T>
void change(T& value) {
  if constexpr (std::is_enum_v<T>) {
    value = static_cast<T>(value == T() ? 1 : 0);
  } else if constexpr (std::is_same_v<T, bool>) {
    value = !value;
  } else {
    value += 1;
  }
}

// Changes the option with the given place; `key` says which it was.
struct ChangeOne {
  int place;
  std::string key = {};
  template <typename T>
  void operator()(const Option& option, T& value) {
    if (place-- != 0) return;
    key = option.key;
    change(value);
  }
  template <typename T>
  void constant(const T&) {}
  template <typename T>
  void derived(const char*, const T&) {}
};

// Options of no effect on the result.
const std::set<std::string> kSameResult = {"checkpoint_minutes",    "measurements",
                                           "offload_optimizer",     "plan_only",
                                           "recompute_activations", "teacher_cache"};

template <typename Options>
void expect_each_changes_the_recipe(const Options& base) {
  const OrderedJson recipe = options_json(base);
  for (int place = 0;; ++place) {
    Options changed = base;
    ChangeOne visitor{place};
    Options::visit(changed, visitor);
    if (visitor.key.empty()) break;
    if (kSameResult.contains(visitor.key)) {
      EXPECT_EQ(options_json(changed), recipe);
    } else {
      EXPECT_NE(options_json(changed), recipe) << visitor.key;
    }
  }
}

TEST(Options, EachChangesTheRecipe) {
  QuantizeModelOptions quantize;
  quantize.cross_term = 0;  // with one, blocks are always truly sequential
  expect_each_changes_the_recipe(quantize);
  expect_each_changes_the_recipe(BlockFinetuneOptions());
  expect_each_changes_the_recipe(TuneOptions());
  expect_each_changes_the_recipe(CompressOptions());
  expect_each_changes_the_recipe(BudgetOptions());
}

// Other keys or another order: unfinished work of earlier versions is not gone on with.
TEST(Options, RecipesStayAsTheyAre) {
  QuantizeModelOptions quantize;
  quantize.representation = parse_representation("aq2x8g8");
  quantize.keep = {"o_proj"};
  quantize.overrides = {{"down", parse_representation("int4g64")}};
  EXPECT_EQ(options_json(quantize).dump(),
            R"({"representation":"aq2x8g8","method":"default","keep":["o_proj"],)"
            R"("override":["down=int4g64"],"embedding_bits":16,"stop_after_blocks":0,)"
            R"("cross_term":0.5,"true_sequential":true,"dtype":"float32","batch_tokens":4096,)"
            R"("seed":0,"damping":0.01,"act_order":false,"max_rounds":16,"tolerance":0.01,)"
            R"("kmeans_iterations":30,"beam":0,"codebook_init":"best","em_iterations":30,)"
            R"("feedback_rounds":2,"codebook_update":true,"outliers":"saliency","sum_rounds":2})");
  quantize.embedding = {.representation = parse_representation("gvq2d3b-s32")};
  EXPECT_EQ(options_json(quantize).at("embedding_bits"), "gvq2d3b-s32");
  EXPECT_EQ(options_json(BlockFinetuneOptions()).dump(),
            R"({"epochs":0,"patience":2,"learning_rate":0.001,"final_rate":0.1,)"
            R"("batch_tokens":4096,"validation_share":0.1,"seed":0})");
  EXPECT_EQ(options_json(TuneOptions()).dump(),
            R"({"strategy":"pv","tokens":0,"minutes":0.0,"batch_tokens":4096,)"
            R"("micro_tokens":2048,"learning_rate":0.003,"final_rate":0.1,"code_step":3.0,)"
            R"("trust_ratio":0.03,"code_momentum":0.98,"p_steps_per_v_step":4,"v_start":0.4,)"
            R"("betas":[0.9,0.95],"dtype":"auto","seed":0})");
  EXPECT_EQ(options_json(CompressOptions()).dump(),
            R"({"preset":"3bit","minutes":0.0,"calibration_tokens":0})");
  EXPECT_EQ(options_json(BudgetOptions()).dump(),
            R"({"target_size":"0B","target_bits":0.0,"target_kl":0.0,"candidates":"",)"
            R"("embedding_candidates":"","budget_windows":4,"budget_measured":1})");
}

// Its recipe holds what the options come to for a model: hashes of the files, the window length.
TEST(Options, EachOfTrainingDataChangesTheRecipe) {
  const auto model = ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama");
  const std::string text = std::string(BITSMITH_TESTDATA) + "/tiny_llama/config.json";
  const auto recipe = [&](const TrainingDataOptions& options, uint64_t seed) {
    return training_data_request(*model, options, seed);
  };
  const TrainingDataOptions base = {.default_context = 64};
  std::set<std::string> recipes = {recipe(base, 0).dump(), recipe(base, 1).dump()};
  const auto add = [&](const std::function<void(TrainingDataOptions&)>& change_one) {
    TrainingDataOptions options = base;
    change_one(options);
    recipes.insert(recipe(options, 0).dump());
  };
  add([&](auto& o) { o.files = {text}; });
  add([](auto& o) { o.tokens = 1000; });
  add([](auto& o) { o.context = 32; });
  add([](auto& o) { o.default_context = 48; });
  add([](auto& o) { o.parse_special = true; });
  add([](auto& o) { o.chat_share = 0.5; });
  add([](auto& o) { o.sample_documents = true; });
  add([](auto& o) { o.validation_share = 0.1; });
  EXPECT_EQ(recipes.size(), 10u);
  EXPECT_EQ(member_count<TrainingDataOptions>(), 9u);  // these, and the cache folder
}

TEST(Options, CandidatesAsText) {
  CandidateList list;
  parse_option("int4g16,aq1x4g8+out0.5%", list);
  EXPECT_EQ(list.specs.size(), 2u);
  EXPECT_EQ(option_text(list), "int4g16,aq1x4g8+out0.5%");
  for (const char* text : {"", "int4g16,", ",int4g16", "int4g16 aq1x4g8"})
    EXPECT_THROW(parse_option(text, list), UsageError) << text;
  // Ladders rise, and fit a usual model.
  for (const CandidateList& ladder : {block_candidates(), embedding_candidates(1)}) {
    double before = 0;
    for (const RepresentationSpec& spec : ladder.specs) {
      const double bits = bits_per_weight(spec, 4096, 4096);
      EXPECT_GT(bits, before) << to_string(spec);
      before = bits;
    }
  }
  for (const RepresentationSpec& spec : embedding_candidates(int64_t{1} << 30).specs)
    EXPECT_TRUE(rows_stand_alone(spec)) << to_string(spec);
}

TEST(Options, NamesOfValues) {
  for (const std::string& name : code_rule_names()) EXPECT_EQ(find_code_rule(name).name, name);
  try {
    parse_method("best");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("gptvq: for gvq*"), std::string::npos) << error.what();
  }
  Override entry;
  EXPECT_THROW(parse_option("down_proj", entry), UsageError);
  EXPECT_THROW(parse_option("=int4g64", entry), UsageError);
  parse_option("a=b=int4g64", entry);
  EXPECT_EQ(entry.first, "a=b");
}

}  // namespace
}  // namespace bitsmith
