#include "compressor/model/gemm_rate.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "kernels/cpu_features.h"

namespace bitsmith {
namespace {

// By turns, so that what else the machine does meets both.
GemmRates measure_gemm_rates() {
  constexpr int64_t kTokens = 512, kFeatures = 1024;
  const auto rate = [](torch::Dtype dtype) {
    return gemm_rate(dtype, kTokens, kFeatures, kFeatures, /*repeats=*/4);
  };
  GemmRates rates;
  for (int turn = 0; turn < 3; ++turn) {
    rates.float32 = std::max(rates.float32, rate(torch::kFloat32));
    if (has_bfloat16_products()) rates.bfloat16 = std::max(rates.bfloat16, rate(torch::kBFloat16));
  }
  return rates;
}

}  // namespace

double gemm_rate(torch::Dtype dtype, int64_t tokens, int64_t in, int64_t out, int repeats) {
  BITSMITH_CHECK(repeats > 0);
  const torch::NoGradGuard no_grad;
  using Clock = std::chrono::steady_clock;
  // Numbers of no interest; not those of the caller's random stream.
  const auto x = torch::full({tokens, in}, 0.5).to(dtype),
             w = torch::full({out, in}, 0.25).to(dtype);
  double best = 1e30;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const auto start = Clock::now();
    const auto y = at::linear(x, w);
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return 2.0 * static_cast<double>(tokens) * static_cast<double>(in * out) / best;
}

const GemmRates& gemm_rates() {
  static const GemmRates rates = measure_gemm_rates();
  return rates;
}

}  // namespace bitsmith
