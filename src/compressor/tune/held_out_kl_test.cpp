#include "compressor/tune/held_out_kl.h"

#include <gtest/gtest.h>

#include "compressor/tune/test_students.h"
#include "compressor/tune/trainer.h"

namespace bitsmith {
namespace {

void disturb(Block& block) {
  const torch::NoGradGuard no_grad;
  for (Linear* linear : block.linears()) linear->weight.mul_(1.1);
}

TEST(HeldOutKl, IsThatOfTheWholeStudentWhicheverBlockItBeginsAt) {
  TinyStudent tiny("int2g16", "continuous");
  Decoder& student = tiny.student->decoder();
  const auto whole = [&] { return validation_kl(student, *tiny.teacher, tiny.held_out, 4); };
  HeldOutKl held_out(student, *tiny.teacher, tiny.held_out, 4);
  double last = 0;
  for (int64_t block = 0; block < student.plan().num_blocks(); ++block) {
    EXPECT_NEAR(held_out.from_block(block), whole(), 1e-6 * whole());
    disturb(*student.blocks()[static_cast<size_t>(block)]);
    const double now = held_out.from_block(block);
    EXPECT_NEAR(now, whole(), 1e-6 * whole());
    EXPECT_NE(now, last);
    last = now;
  }
}

// What a run that goes on finds is what it left, to the bit.
TEST(HeldOutKl, IsTheSameFromEveryBlock) {
  TinyStudent tiny("int2g16", "continuous");
  const auto kl_from = [&](int64_t block) {
    return HeldOutKl(tiny.student->decoder(), *tiny.teacher, tiny.held_out, 4).from_block(block);
  };
  for (int64_t block = 1; block < tiny.files->plan().num_blocks(); ++block)
    EXPECT_EQ(kl_from(block), kl_from(0));
}

TEST(HeldOutKl, IsZeroForTheTeacher) {
  TinyStudent tiny("int2g16", "continuous");
  EXPECT_NEAR(HeldOutKl(*tiny.teacher, *tiny.teacher, tiny.held_out, 4).from_block(0), 0, 1e-6);
}

}  // namespace
}  // namespace bitsmith
