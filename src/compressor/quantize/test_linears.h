// Matrices for the tests of this folder.
#pragma once
#include <cmath>
#include <string>

#include "compressor/objective/hessian_sum.h"
#include "compressor/quantize/quantizer.h"

namespace bitsmith {

struct TestLinear {
  torch::Tensor weight, hessian;
};

// Inputs of very different sizes that depend on each other, as in a real linear.
inline TestLinear random_linear(int64_t out, int64_t in, int64_t samples = 600) {
  torch::manual_seed(21);
  const auto mix = torch::randn({in, in}) / std::sqrt(static_cast<double>(in));
  const auto x = torch::matmul(torch::randn({samples, in}), mix) * torch::logspace(-1, 1, in);
  HessianSum sum(in);
  sum.add(x);
  return {0.05 * torch::randn({out, in}), sum.hessian()};
}

inline QuantizedLinear quantize(const TestLinear& linear, const std::string& spec,
                                const std::string& method, QuantizeOptions options = {}) {
  const auto parsed = parse_representation(spec);
  options.method = parse_method(method);
  check_method(options.method, parsed);
  return quantize_linear(linear.weight, linear.hessian, parsed, options);
}

// By the default method of the representation.
inline QuantizedLinear quantize_by(const torch::Tensor& weight, const Objective& objective,
                                   const std::string& spec, QuantizeOptions options = {}) {
  const auto parsed = parse_representation(spec);
  options.method = default_method(parsed);
  return quantize_linear(weight, objective, parsed, options);
}

}  // namespace bitsmith
