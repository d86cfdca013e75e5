#include "compressor/train/adam.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "compressor/train/eight_bit_moments.h"

namespace bitsmith {
namespace {

// A moment in a floating-point format, as EightBitMoment is one in 8 bits.
template <typename T>
struct FloatMoment {
  T* stored;

  void load(int64_t at, int64_t count, float* values) const {
    for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(stored[at + i]);
  }
  void store(int64_t at, int64_t count, const float* values) const {
    for (int64_t i = 0; i < count; ++i) stored[at + i] = static_cast<T>(values[i]);
  }
};

// One pass over memory: moments in, moments and direction out.
template <typename First, typename Second>
void adam_pass(const float* g, const First& m, const Second& v, float* out, int64_t n,
               const AdamOptions& o, float debias1, float debias2) {
  const float b1 = static_cast<float>(o.beta1), b2 = static_cast<float>(o.beta2);
  const float epsilon = static_cast<float>(o.epsilon);
  const int64_t blocks = (n + kMomentBlock - 1) / kMomentBlock;
  at::parallel_for(0, blocks, 256, [&](int64_t begin, int64_t end) {
    float first[kMomentBlock], second[kMomentBlock];
    for (int64_t at = begin * kMomentBlock; at < std::min(n, end * kMomentBlock);
         at += kMomentBlock) {
      const int64_t count = std::min(kMomentBlock, n - at);
      m.load(at, count, first);
      v.load(at, count, second);
      for (int64_t i = 0; i < count; ++i) {
        const float gradient = g[at + i];
        first[i] = b1 * first[i] + (1 - b1) * gradient;
        second[i] = b2 * second[i] + (1 - b2) * gradient * gradient;
        out[at + i] = first[i] * debias1 / (std::sqrt(second[i] * debias2) + epsilon);
      }
      m.store(at, count, first);
      v.store(at, count, second);
    }
  });
}

// Of the chance of a step's roundings: the two moments have their own.
uint32_t rounding_seed(int64_t step, uint32_t moment) {
  return (static_cast<uint32_t>(step) * 2 + moment) * 0x85ebca6bu;
}

template <typename T>
FloatMoment<T> float_moment(torch::Tensor& values) {
  return {values.data_ptr<T>()};
}

}  // namespace

void AdamState::begin(at::IntArrayRef shape, MomentFormat format) {
  if (format != MomentFormat::kEightBits) {
    const auto dtype = format == MomentFormat::kBFloat16 ? torch::kBFloat16 : torch::kFloat32;
    first = memory->zeros(shape, dtype);
    second = memory->zeros(shape, dtype);
    return;
  }
  first = memory->zeros(shape, torch::kUInt8);
  second = memory->zeros(shape, torch::kUInt8);
  const int64_t blocks = (first.numel() + kMomentBlock - 1) / kMomentBlock;
  first_scales = memory->zeros({blocks}, torch::kFloat32);
  second_scales = memory->zeros({blocks}, torch::kFloat32);
}

torch::Tensor AdamState::direction(const torch::Tensor& gradient, int64_t step,
                                   const AdamOptions& options) {
  const torch::NoGradGuard no_grad;
  const auto g = gradient.contiguous();
  if (!first.defined()) begin(g.sizes(), options.moments);
  auto out = torch::empty_like(g);
  const auto debias1 = static_cast<float>(1 / (1 - std::pow(options.beta1, step)));
  const auto debias2 = static_cast<float>(1 / (1 - std::pow(options.beta2, step)));
  const auto pass = [&](const auto& m, const auto& v) {
    adam_pass(g.const_data_ptr<float>(), m, v, out.data_ptr<float>(), g.numel(), options, debias1,
              debias2);
  };
  if (options.moments == MomentFormat::kEightBits) {
    pass(EightBitMoment<true>(first.data_ptr<uint8_t>(), first_scales.data_ptr<float>(),
                              rounding_seed(step, 0)),
         EightBitMoment<false>(second.data_ptr<uint8_t>(), second_scales.data_ptr<float>(),
                               rounding_seed(step, 1)));
  } else if (options.moments == MomentFormat::kBFloat16) {
    pass(float_moment<at::BFloat16>(first), float_moment<at::BFloat16>(second));
  } else {
    pass(float_moment<float>(first), float_moment<float>(second));
  }
  return out;
}

void AdamState::shrink_momentum(const torch::Tensor& rows, int64_t row_size, double share) {
  const torch::NoGradGuard no_grad;
  if (first_scales.defined()) {
    const EightBitMoment<true> moment(first.data_ptr<uint8_t>(), first_scales.data_ptr<float>(), 0);
    const auto places = rows.contiguous();
    const auto* row = places.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < places.numel(); ++i)
      moment.shrink(row[i] * row_size, row_size, static_cast<float>(share));
    return;
  }
  auto grouped = first.view({-1, row_size});
  grouped.index_copy_(0, rows, grouped.index_select(0, rows).mul_(share));
}

}  // namespace bitsmith
