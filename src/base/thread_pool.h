// Fork-join parallelism: the caller and threads - 1 workers share the tasks of one call.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>

namespace bitsmith {

// Whoever waits, a worker for a call or the caller for the last worker, spins for some tens of
// microseconds and then sleeps: the many short calls of a token's forward pass do not pay for a
// wake-up each, and a core that another process needs is given up. A call does not wait for workers
// that found no time to take part. One caller at a time; calls do not nest.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;
  // Runs task(i) for i in [0, count); which thread runs which task is not fixed, so tasks write
  // to places of their own and results do not depend on the number of threads. The first
  // exception of a task is rethrown here after all have ended.
  void run(int64_t count, const std::function<void(int64_t)>& task);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Threads that can run at once: by the affinity mask and the control groups' processor quota,
// rounded up, and by OMP_NUM_THREADS; at least 1.
int default_threads();

}  // namespace bitsmith
