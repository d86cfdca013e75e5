#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/cgroup.h"

namespace bitsmith {
namespace {

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// Whether ready() comes true within some tens of microseconds. Measured by the clock, as a pause
// takes 3 cycles on one processor and 140 on another.
template <typename Ready>
bool spin_until(const Ready& ready) {
  constexpr auto kSpinTime = std::chrono::microseconds(50);
  if (ready()) return true;
  const auto end = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < 16; ++i) {
      relax();
      if (ready()) return true;
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

// ThreadPool::State::call: workers inside, whether they may come in, and the call's number.
constexpr uint32_t kInside = 0xfff, kOpen = 0x1000, kNextCall = 0x2000;

}  // namespace

// A worker enters a call while it is open. The caller closes it when no task is left, and waits for
// the workers inside alone: a worker that the system has not let run holds up nobody.
struct ThreadPool::State {
  std::vector<std::thread> workers;
  std::atomic<uint32_t> call{0};  // workers sleep on it
  std::atomic<uint32_t> left{0};  // 1: the last worker left a closed call; the caller sleeps on it
  std::atomic<bool> stop{false};
  std::atomic<int64_t> next{0};
  int64_t count = 0;
  const std::function<void(int64_t)>* task = nullptr;
  std::mutex failure_mutex;
  std::exception_ptr failure;

  void work() {
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
      try {
        (*task)(i);
      } catch (...) {
        const std::lock_guard lock(failure_mutex);
        if (!failure) failure = std::current_exception();
      }
    }
  }

  void loop() {
    for (uint32_t seen = 0, now;;) {
      const auto news = [&] {
        now = call.load(std::memory_order_acquire);
        return stop.load(std::memory_order_relaxed) ||
               ((now & kOpen) != 0 && now / kNextCall != seen);
      };
      if (!spin_until(news)) {
        call.wait(now, std::memory_order_acquire);
        continue;
      }
      if (stop.load(std::memory_order_relaxed)) return;
      if (!call.compare_exchange_strong(now, now + 1, std::memory_order_acquire)) continue;
      seen = now / kNextCall;
      work();
      if ((call.fetch_sub(1, std::memory_order_acq_rel) & (kOpen | kInside)) == 1) {
        left.store(1, std::memory_order_release);
        left.notify_one();
      }
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  for (int i = 1; i < std::max(threads, 1); ++i) {
    state_->workers.emplace_back([state = state_.get()] { state->loop(); });
  }
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true, std::memory_order_relaxed);
  state_->call.fetch_add(kNextCall, std::memory_order_release);
  state_->call.notify_all();
  for (auto& worker : state_->workers) worker.join();
}

int ThreadPool::size() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::run(int64_t count, const std::function<void(int64_t)>& task) {
  State& s = *state_;
  if (s.workers.empty() || count <= 1) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  s.count = count;
  s.task = &task;
  s.failure = nullptr;
  s.next.store(0, std::memory_order_relaxed);
  s.left.store(0, std::memory_order_relaxed);
  s.call.fetch_add(kNextCall + kOpen, std::memory_order_release);
  s.call.notify_all();
  s.work();
  if ((s.call.fetch_and(~kOpen, std::memory_order_acq_rel) & kInside) != 0 &&
      !spin_until([&] { return s.left.load(std::memory_order_acquire) == 1; })) {
    s.left.wait(0, std::memory_order_acquire);
  }
  if (s.failure) std::rethrow_exception(s.failure);
}

int default_threads() {
  cpu_set_t set;
  const int cores = sched_getaffinity(0, sizeof(set), &set) == 0
                        ? CPU_COUNT(&set)
                        : static_cast<int>(std::thread::hardware_concurrency());
  double threads = std::min<double>(cores, std::ceil(cgroup_limits().cpus));
  if (const char* openmp = std::getenv("OMP_NUM_THREADS"))  // "4", or a list by level: "4,2"
    if (const double asked = std::strtod(openmp, nullptr); asked >= 1)
      threads = std::min(threads, asked);
  return static_cast<int>(std::max(1.0, threads));
}

}  // namespace bitsmith
