#include "compressor/quantize/uniform_grid_search.h"

#include <cmath>

#include "base/half.h"

namespace bitsmith {
namespace {

// With its sign bit an fp16 value is a negative int16.
float scale_of(int32_t code) { return fp16_to_float(static_cast<uint16_t>(code)); }
int32_t code_of(float scale) { return static_cast<int16_t>(float_to_fp16(scale)); }

double dot(const float* a, const float* b, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

double sum_of(const float* values, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) sum += values[i];
  return sum;
}

}  // namespace

torch::Tensor codes_of_grids(const UniformGrid& grids) {
  const auto bits = grids.scales.to(torch::kHalf).contiguous().view(torch::kShort);
  return torch::stack({bits.to(torch::kInt).reshape(-1), grids.zeros.reshape(-1)}, 1).contiguous();
}

UniformGrid grids_of_codes(const torch::Tensor& codes, int64_t out) {
  const auto bits = codes.select(1, 0).to(torch::kShort).contiguous().view(torch::kHalf);
  return {bits.to(torch::kFloat).reshape({out, -1}),
          codes.select(1, 1).reshape({out, -1}).contiguous()};
}

UniformGridSearch::UniformGridSearch(const torch::Tensor& codes, int64_t size,
                                     const UniformSpec& spec)
    : codes_(codes.contiguous()), size_(size), spec_(spec) {}

void UniformGridSearch::prepare(int64_t slot, const float* sub_hessian) {
  SubHessian& own = sub_hessians_[static_cast<size_t>(slot)];
  own.matrix = torch::empty({size_, size_}, torch::kFloat);
  own.row_sums = torch::empty({size_}, torch::kFloat);
  std::copy_n(sub_hessian, size_ * size_, own.matrix.mutable_data_ptr<float>());
  own.sum = 0;
  for (int64_t a = 0; a < size_; ++a) {
    const double sum = sum_of(sub_hessian + a * size_, size_);
    own.row_sums.mutable_data_ptr<float>()[a] = static_cast<float>(sum);
    own.sum += sum;
  }
}

// With v the levels above the present zero point and e a vector of ones, the scale s and a zero
// point k higher cost s^2 (v - k e)^T B (v - k e) - 2 s linear . (v - k e).
void UniformGridSearch::search(int64_t slot, int64_t count, const int64_t* code_groups,
                               const float* linear, int32_t* codes) const {
  const torch::NoGradGuard no_grad;  // each thread has its own flag
  const SubHessian& own = sub_hessians_[static_cast<size_t>(slot)];
  auto levels = torch::empty({count, size_}, torch::kFloat);
  auto* v = levels.mutable_data_ptr<float>();
  for (int64_t i = 0; i < count; ++i) levels_of(code_groups[i], codes[2 * i + 1], v + i * size_);
  const auto images = at::mm(levels, own.matrix);
  for (int64_t i = 0; i < count; ++i) {
    const float* of_group = v + i * size_;
    const float* of_linear = linear + i * size_;
    const double square = dot(images.const_data_ptr<float>() + i * size_, of_group, size_),
                 joint = dot(own.row_sums.const_data_ptr<float>(), of_group, size_),
                 product = dot(of_linear, of_group, size_), shift = sum_of(of_linear, size_);
    const auto power = [&](int32_t k) { return square - 2 * k * joint + own.sum * k * k; };
    const auto cost = [&](double scale, int32_t k) {
      return scale * (scale * power(k) - 2 * (product - k * shift));
    };
    int32_t* present = codes + 2 * i;
    const int32_t zero = present[1], largest = (1 << spec_.nbits) - 1;
    double least = cost(scale_of(present[0]), 0);
    for (int32_t k = spec_.zero_points ? -zero : 0; k <= (spec_.zero_points ? largest - zero : 0);
         ++k) {
      if (!(power(k) > 0)) continue;  // levels of zero, dead inputs: every scale is as good
      const int32_t bits = code_of(static_cast<float>((product - k * shift) / power(k)));
      const double scale = scale_of(bits);
      if (!std::isfinite(scale) || !(cost(scale, k) < least)) continue;
      least = cost(scale, k);
      present[0] = bits;
      present[1] = zero + k;
    }
  }
}

void UniformGridSearch::decode(int64_t count, const int64_t* code_groups, const int32_t* codes,
                               float* values) const {
  for (int64_t i = 0; i < count; ++i) {
    float* own = values + i * size_;
    levels_of(code_groups[i], codes[2 * i + 1], own);
    const float scale = scale_of(codes[2 * i]);
    for (int64_t t = 0; t < size_; ++t) own[t] *= scale;
  }
}

void UniformGridSearch::levels_of(int64_t code_group, int32_t zero, float* levels) const {
  const int32_t* own = codes_.const_data_ptr<int32_t>() + code_group * size_;
  for (int64_t t = 0; t < size_; ++t) levels[t] = static_cast<float>(own[t] - zero);
}

}  // namespace bitsmith
