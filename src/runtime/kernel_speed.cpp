#include "runtime/kernel_speed.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "base/error.h"
#include "base/random.h"
#include "kernels/aligned_buffer.h"
#include "kernels/kernel_table.h"

namespace bitsmith {
namespace {

// What drives everything else out of the caches.
class OtherMemory {
 public:
  // Written, as pages that never were are all one.
  OtherMemory() { std::fill_n(memory_.data(), memory_.size(), uint64_t{1}); }
  void read(ThreadPool& pool) {
    pool.run(kParts, [&](int64_t part) {
      sum_ += kernels().limits.read(memory_.data() + part * kPartWords, kPartWords * 8);
    });
  }

 private:
  static constexpr int64_t kParts = 64, kPartWords = 1 << 19;  // 256 MiB
  AlignedBuffer<uint64_t> memory_{kParts * kPartWords};
  std::atomic<uint64_t> sum_ = 0;  // so that the reading is not left out
};

}  // namespace

std::vector<KernelSpeed> measure_kernel(WeightMatrix& matrix, std::span<const int64_t> tokens,
                                        int64_t repeats, ThreadPool& pool,
                                        const RunContext& context) {
  OtherMemory other;
  Random random(context.seed);
  std::vector<KernelSpeed> speeds;
  for (const int64_t count : tokens) {
    std::vector<float> x(static_cast<size_t>(count * matrix.in_features));
    std::vector<float> y(static_cast<size_t>(count * matrix.out_features));
    for (float& value : x) value = static_cast<float>(random.normal());
    for (const Products products : {Products::kSingle, Products::kInt8, Products::kExact}) {
      const auto multiply = [&] { matrix.multiply(products, x.data(), count, y.data(), pool); };
      multiply();  // scratch memory is made
      for (const bool cold : {false, true}) {
        std::vector<double> seconds;
        for (int64_t i = 0; i < repeats; ++i) {
          if (context.cancelled())
            throw Interrupted("stopped; nothing is kept, the same command measures anew");
          if (cold) other.read(pool);
          const auto start = std::chrono::steady_clock::now();
          multiply();
          seconds.push_back(
              std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        }
        std::sort(seconds.begin(), seconds.end());
        const size_t n = seconds.size();
        speeds.push_back({.products = products,
                          .tokens = count,
                          .cold = cold,
                          .median = (seconds[(n - 1) / 2] + seconds[n / 2]) / 2,
                          .best = seconds.front()});
      }
    }
  }
  return speeds;
}

}  // namespace bitsmith
