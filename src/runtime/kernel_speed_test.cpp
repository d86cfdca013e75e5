#include "runtime/kernel_speed.h"

#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "base/error.h"
#include "base/random.h"
#include "format/random_tensor.h"

namespace bitsmith {
namespace {

std::unique_ptr<WeightMatrix> some_matrix() {
  Random random(1);
  return make_quantized_matrix(random_tensor(parse_representation("int4g32"), 40, 64, random, 0.1));
}

TEST(KernelSpeed, EveryWayWarmAndCold) {
  const auto matrix = some_matrix();
  ThreadPool pool(2);
  const int64_t tokens[] = {1, 3};
  const auto speeds = measure_kernel(*matrix, tokens, 2, pool, {});
  std::set<std::tuple<Products, int64_t, bool>> seen;
  for (const KernelSpeed& speed : speeds) {
    EXPECT_GT(speed.best, 0);
    EXPECT_GE(speed.median, speed.best);
    EXPECT_TRUE(seen.insert({speed.products, speed.tokens, speed.cold}).second);
  }
  EXPECT_EQ(seen.size(), 3u * 2 * 2);
}

TEST(KernelSpeed, CanBeStopped) {
  const auto matrix = some_matrix();
  ThreadPool pool(1);
  CancelFlag flag;
  flag.raise();
  RunContext context;
  context.cancel = &flag;
  const int64_t one[] = {1};
  EXPECT_THROW(measure_kernel(*matrix, one, 1, pool, context), Interrupted);
}

}  // namespace
}  // namespace bitsmith
