#include "runtime/fair_queue.h"

#include <gtest/gtest.h>

#include <vector>

namespace bitsmith {
namespace {

TEST(FairQueue, ClientsTakeTurns) {
  FairQueue<int> queue;
  for (int i = 0; i < 4; ++i) queue.push("a", i);
  queue.push("b", 10);
  queue.push("c", 20);
  queue.push("b", 11);
  EXPECT_EQ(queue.size(), 7);
  std::vector<int> order;
  while (!queue.empty()) {
    const int front = queue.front();
    EXPECT_EQ(queue.pop(), front);
    order.push_back(front);
    if (front == 1) queue.push("d", 30);  // behind everybody
  }
  EXPECT_EQ(order, (std::vector<int>{0, 10, 20, 1, 11, 2, 30, 3}));
}

TEST(FairQueue, ItemsCanLeave) {
  FairQueue<int> queue;
  queue.push("a", 1);
  queue.push("b", 2);
  queue.push("a", 3);
  std::vector<int> left;
  const auto remove = [&](int item) {
    return queue.remove([&](int i) { return i == item; }, [&](int i) { left.push_back(i); });
  };
  EXPECT_TRUE(remove(2));
  EXPECT_FALSE(remove(2));
  EXPECT_TRUE(remove(1));
  EXPECT_EQ(queue.size(), 1);
  EXPECT_EQ(queue.pop(), 3);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(left, (std::vector<int>{2, 1}));
}

}  // namespace
}  // namespace bitsmith
