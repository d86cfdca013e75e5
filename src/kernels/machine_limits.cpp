#include "kernels/machine_limits.h"

#include <time.h>

#include <algorithm>
#include <atomic>
#include <functional>

#include "base/thread_pool.h"
#include "kernels/aligned_buffer.h"
#include "kernels/kernel_table.h"

namespace bitsmith {
namespace {

// Seconds of the fastest of the passes that fit in half a second, at least three.
double fastest_pass(const ThreadPool& pool, const std::function<void()>& pass) {
  const double start = limit_seconds(pool);
  double fastest = 1e30, end = start;
  for (int i = 0; i < 3 || end - start < 0.5; ++i) {
    const double begin = end;
    pass();
    end = limit_seconds(pool);
    fastest = std::min(fastest, end - begin);
  }
  return fastest;
}

}  // namespace

double limit_seconds(const ThreadPool& pool) {
  timespec now;
  clock_gettime(pool.size() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double read_bandwidth(ThreadPool& pool, int64_t bytes) {
  constexpr int64_t kPiece = 1 << 20;
  const int64_t pieces = std::max<int64_t>(bytes / kPiece, 1);
  const AlignedBuffer<uint8_t> buffer(pieces * kPiece);
  std::atomic<uint64_t> sum{0};  // keeps the reads alive
  const double seconds = fastest_pass(pool, [&] {
    pool.run(pieces,
             [&](int64_t i) { sum += kernels().limits.read(buffer.data() + i * kPiece, kPiece); });
  });
  return static_cast<double>(pieces * kPiece) / seconds;
}

double multiply_add_rate(ThreadPool& pool) {
  constexpr int64_t kRounds = 1 << 20;
  std::atomic<float> result{0};
  const double seconds = fastest_pass(pool, [&] {
    pool.run(pool.size(), [&](int64_t) { result = kernels().limits.multiply_add(kRounds); });
  });
  return static_cast<double>(pool.size() * kRounds * kernels().limits.flops) / seconds;
}

double int8_multiply_add_rate(ThreadPool& pool) {
  constexpr int64_t kRounds = 1 << 20;
  std::atomic<int32_t> result{0};
  const LimitKernels& limits = kernels().limits;
  const double seconds = fastest_pass(pool, [&] {
    pool.run(pool.size(), [&](int64_t) { result = limits.multiply_add_int8(kRounds); });
  });
  return static_cast<double>(pool.size() * kRounds * limits.int8_operations) / seconds;
}

}  // namespace bitsmith
