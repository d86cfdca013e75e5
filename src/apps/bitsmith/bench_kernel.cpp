#include "apps/bitsmith/bench_kernel.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <utility>

#include "base/random.h"
#include "format/random_tensor.h"
#include "kernels/cpu_features.h"
#include "kernels/machine_limits.h"
#include "runtime/kernel_speed.h"

namespace bitsmith {
namespace {

constexpr int64_t kLargestSide = int64_t{1} << 20, kLargestMatrix = int64_t{1} << 30;

// "4096x11008" -> outputs, inputs.
std::pair<int64_t, int64_t> parse_sides(const std::string& text) {
  int64_t sides[2] = {0, 0};
  const char *from = text.data(), *end = from + text.size();
  bool good = true;
  for (int i = 0; i < 2; ++i) {
    if (i == 1) good = good && from < end && *from++ == 'x';
    const auto [next, error] = std::from_chars(from, end, sides[i]);
    good = good && error == std::errc() && sides[i] >= 1 && sides[i] <= kLargestSide;
    from = next;
  }
  if (!good || from != end || sides[0] * sides[1] > kLargestMatrix) {
    throw UsageError(concat("--kernel ", excerpt(text),
                            ": OUTxIN is wanted, as 4096x4096, of at most ", kLargestMatrix,
                            " weights"));
  }
  return {sides[0], sides[1]};
}

const char* name_of(Products products) {
  if (products == Products::kSingle) return "single";
  return products == Products::kExact ? "exact" : "int8";
}

std::unique_ptr<WeightMatrix> random_matrix(const std::string& representation, int64_t out,
                                            int64_t in, uint64_t seed) {
  Random random(seed);
  if (representation.empty()) {
    return make_dense_matrix(out, in, /*as_bfloat16=*/true,
                             [&](int64_t, int64_t, std::span<float> rows) {
                               for (float& w : rows)
                                 w = static_cast<float>(random.uniform() - 0.5) * 0.05f;
                             });
  }
  return make_quantized_matrix(
      random_tensor(parse_representation(representation), out, in, random, 0.03));
}

}  // namespace

void KernelBench::run() const {
  const auto [out, in] = parse_sides(shape);
  RunContext context = run_context(common);
  const auto matrix = random_matrix(representation, out, in, common.seed);
  const auto bytes = static_cast<double>(matrix->bytes());
  OrderedJson json = {{"isa", isa_name(selected_isa())},
                      {"representation", representation.empty() ? "bfloat16" : representation},
                      {"shape", {out, in}},
                      {"kernel", matrix->kernel()},
                      {"bytes", matrix->bytes()},
                      {"measurements", OrderedJson::array()}};
  std::string text = concat("kernels of ", isa_name(selected_isa()), ", ", matrix->kernel(), ", ",
                            format_megabytes(bytes), ", median and best of ", repeats,
                            repeats == 1 ? " repeat" : " repeats", "\n\n");
  text += format("%-8s %7s %7s %-5s %11s %11s %7s %7s\n", "products", "threads", "tokens", "", "us",
                 "best", "GB/s", "of RAM");
  std::string limits;
  for (const int threads : over_threads.empty() ? std::vector{context.threads} : over_threads) {
    ThreadPool pool(threads);
    const auto speeds = measure_kernel(*matrix, tokens, repeats, pool, context);
    const uint64_t buffer = std::min<uint64_t>(uint64_t{1} << 30, available_memory_bytes() / 4);
    const double bandwidth = read_bandwidth(pool, static_cast<int64_t>(buffer));
    for (const KernelSpeed& speed : speeds) {
      const double read = bytes / speed.median;
      const std::string products = name_of(speed.products);
      json["measurements"].push_back({{"products", products},
                                      {"threads", threads},
                                      {"tokens", speed.tokens},
                                      {"cold", speed.cold},
                                      {"seconds", speed.median},
                                      {"seconds_best", speed.best},
                                      {"bytes_per_second", read},
                                      {"memory_bandwidth", bandwidth},
                                      {"bandwidth_ratio", read / bandwidth}});
      text += format("%-8s %7d %7lld %-5s %11.1f %11.1f %7.2f %5.0f %%\n", products.c_str(),
                     threads, static_cast<long long>(speed.tokens), speed.cold ? "cold" : "warm",
                     1e6 * speed.median, 1e6 * speed.best, read / 1e9, 100 * read / bandwidth);
    }
    limits +=
        format("memory   %.2f GB/s with %d threads, measured now\n", bandwidth / 1e9, threads);
  }
  print_result(common, json, text + "\n" + limits);
}

}  // namespace bitsmith
