// Tasks over LibTorch's own threads. A pool beside them would fight for the same cores: the workers
// of the one spin for a while after every call of the other.
#pragma once
#include <ATen/Parallel.h>

#include <atomic>
#include <cstdint>

// Of the Intel library that LibTorch multiplies matrices with on x86: threads for the caller's own
// products, 0 for as many as for others; returns what it was. Null in a LibTorch without it.
extern "C" int MKL_Set_Num_Threads_Local(int threads) __attribute__((weak));

namespace bitsmith {

// While it lives, this thread's products are cut as for one thread. Within a parallel region they
// have but one, and are cut for all nevertheless: sums would hang on the number of threads.
class ProductsOfOneThread {
 public:
  ProductsOfOneThread() {
    if (MKL_Set_Num_Threads_Local != nullptr) before_ = MKL_Set_Num_Threads_Local(1);
  }
  ~ProductsOfOneThread() {
    if (MKL_Set_Num_Threads_Local != nullptr) MKL_Set_Num_Threads_Local(before_);
  }
  ProductsOfOneThread(const ProductsOfOneThread&) = delete;

 private:
  int before_ = 0;
};

// Runs task(i) for i in [0, count). Which thread runs which task is not fixed, so tasks write to
// places of their own and results do not depend on the number of threads. LibTorch calls inside a
// task run on that task's thread alone.
template <typename Task>
void parallel_tasks(int64_t count, const Task& task) {
  std::atomic<int64_t> next{0};
  at::parallel_for(0, at::get_num_threads(), 1, [&](int64_t begin, int64_t end) {
    const ProductsOfOneThread products;
    for (int64_t worker = begin; worker < end; ++worker) {
      for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) task(i);
    }
  });
}

}  // namespace bitsmith
