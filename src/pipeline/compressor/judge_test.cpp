#include "pipeline/compressor/judge.h"

#include <gtest/gtest.h>

namespace bitsmith {
namespace {

Judged judged(uint64_t bytes, double kl) {
  Judged row;
  row.decoder_bits = 3.16;
  row.file_bytes = bytes;
  row.quality.perplexity = 25.5;
  row.quality.kl = kl;
  row.quality.top1 = 0.75;
  return row;
}

TEST(JudgmentTable, HasTheFileFirstAndTheOneShotResultBeforeTuning) {
  Judgment judgment = {.original = judged(98'400'000, 0), .compressed = judged(71'300'000, 0.125)};
  judgment.original.speed = judgment.compressed.speed = Speed{100.5, uint64_t{100} << 20};
  EXPECT_EQ(judgment_table(judgment, false),
            "| | weight file | decoder bits a weight | perplexity | KL | top-1 |\n"
            "|---|---|---|---|---|---|\n"
            "| original | 98.4 MB | 3.16 | 25.50 | - | - |\n"
            "| compressed | 71.3 MB | 3.16 | 25.50 | 0.1250 | 75.0 % |\n");
  judgment.one_shot = judged(71'300'000, 0.25);
  const std::string table = judgment_table(judgment, true);
  EXPECT_NE(table.find("| one-shot, before tuning | 71.3 MB | 3.16 | 25.50 | 0.2500 | 75.0 % | - | "
                       "- |\n| compressed |"),
            std::string::npos)
      << table;
  EXPECT_NE(table.find("0.1250 | 75.0 % | 100.5 | 100 MiB |\n"), std::string::npos) << table;
  EXPECT_FALSE(to_json(*judgment.one_shot).contains("tokens_per_second"));
  EXPECT_TRUE(to_json(judgment.compressed).contains("tokens_per_second"));
}

}  // namespace
}  // namespace bitsmith
