#include "base/options.h"

#include <gtest/gtest.h>

namespace bitsmith {
namespace {

using Words = std::vector<std::string>;

struct Sample {
  std::string kind = "plain";
  std::vector<std::string> keep;
  double rate = 0.5;
  bool careful = false, quick = true;
  int hidden = 1, effortless = 2;

  template <typename Self, typename Visitor>
  static void visit(Self& o, Visitor& v) {
    v(Option{.key = "kind", .help = "h", .required = true}, o.kind);
    v(Option{.key = "keep", .help = "h"}, o.keep);
    v(Option{.key = "learning_rate", .help = "h"}, o.rate);
    v(Option{.key = "careful", .help = "h", .recorded = Option::Recorded::kDerived}, o.careful);
    v.derived("careful", o.careful);
    v(Option{.key = "quick", .help = "h", .name = "fast"}, o.quick);
    v(Option{.key = "hidden"}, o.hidden);
    v(Option{.key = "effortless", .help = "h", .recorded = Option::Recorded::kNever}, o.effortless);
  }
};

TEST(OptionWords, AreWhatIsRequiredOrChanged) {
  Sample sample;
  EXPECT_EQ(option_words(sample), (Words{"--kind", "plain"}));
  sample.keep = {"a", "b c"};
  sample.rate = 0.25;
  sample.careful = true;
  sample.quick = false;
  sample.hidden = sample.effortless = 7;
  EXPECT_EQ(option_words(sample), (Words{"--kind", "plain", "--keep", "a", "--keep", "b c",
                                         "--learning-rate", "0.25", "--careful", "--no-fast"}));
}

TEST(OptionsJson, HoldsADerivedEntryOnce) {
  const OrderedJson json = options_json(Sample());
  EXPECT_EQ(json.count("careful"), 1u);
  EXPECT_EQ(json.count("effortless"), 0u);
}

TEST(ShellLine, QuotesWhatAShellWouldRead) {
  EXPECT_EQ(shell_line({"a", "--keep", R"(layers\.0\.)", "down=int4g64+out0.5%", ""}),
            R"(a --keep 'layers\.0\.' down=int4g64+out0.5% '')");
  EXPECT_EQ(shell_line({"it's", "$HOME", "a b"}), R"('it'\''s' '$HOME' 'a b')");
}

}  // namespace
}  // namespace bitsmith
