#include "compressor/train/adam.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "compressor/train/eight_bit_moments.h"
#include "compressor/train/step_times.h"
#include "kernels/kernel_table.h"

namespace bitsmith {
namespace {

// Moments in floating-point formats, as EightBitMoment is one in 8 bits.
struct Float32Moment {
  float* stored;

  void load(int64_t at, int64_t count, float* values) const {
    std::copy_n(stored + at, count, values);
  }
  void store(int64_t at, int64_t count, const float* values) const {
    std::copy_n(values, count, stored + at);
  }
};
struct BFloat16Moment {
  uint16_t* stored;

  void load(int64_t at, int64_t count, float* values) const {
    kernels().bfloat16.widen(stored + at, count, values);
  }
  void store(int64_t at, int64_t count, const float* values) const {
    kernels().bfloat16.narrow(values, count, stored + at);
  }
};

// One pass over memory: moments in, moments and, unless `out` is null, the direction out.
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
      }
      for (int64_t i = 0; out != nullptr && i < count; ++i)
        out[at + i] = first[i] * debias1 / (std::sqrt(second[i] * debias2) + epsilon);
      m.store(at, count, first);
      v.store(at, count, second);
    }
  });
}

// Of the chance of a step's roundings: the two moments have their own.
uint32_t rounding_seed(int64_t step, uint32_t moment) {
  return (static_cast<uint32_t>(step) * 2 + moment) * 0x85ebca6bu;
}

BFloat16Moment bfloat16_moment(torch::Tensor& values) {
  return {reinterpret_cast<uint16_t*>(values.data_ptr<at::BFloat16>())};
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
  auto out = torch::empty(gradient.sizes(), torch::kFloat32);
  update(gradient, step, options, out.mutable_data_ptr<float>());
  return out;
}

void AdamState::take(const torch::Tensor& gradient, int64_t step, const AdamOptions& options) {
  update(gradient, step, options, nullptr);
}

void AdamState::update(const torch::Tensor& gradient, int64_t step, const AdamOptions& options,
                       float* direction) {
  const torch::NoGradGuard no_grad;
  const TimedPart timed(StepPart::kOptimizer);
  const auto g = gradient.contiguous();
  if (!first.defined()) begin(g.sizes(), options.moments);
  const auto debias1 = static_cast<float>(1 / (1 - std::pow(options.beta1, step)));
  const auto debias2 = static_cast<float>(1 / (1 - std::pow(options.beta2, step)));
  const auto pass = [&](const auto& m, const auto& v) {
    adam_pass(g.const_data_ptr<float>(), m, v, direction, g.numel(), options, debias1, debias2);
  };
  if (options.moments == MomentFormat::kEightBits) {
    pass(EightBitMoment<true>(first.data_ptr<uint8_t>(), first_scales.data_ptr<float>(),
                              rounding_seed(step, 0)),
         EightBitMoment<false>(second.data_ptr<uint8_t>(), second_scales.data_ptr<float>(),
                               rounding_seed(step, 1)));
  } else if (options.moments == MomentFormat::kBFloat16) {
    pass(bfloat16_moment(first), bfloat16_moment(second));
  } else {
    pass(Float32Moment{first.data_ptr<float>()}, Float32Moment{second.data_ptr<float>()});
  }
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
