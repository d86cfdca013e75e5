#include "compressor/quantize/additive_solve.h"

#include <vector>

#include "compressor/objective/row_products.h"
#include "compressor/parallel.h"
#include "compressor/quantize/conjugate_gradients.h"
#include "compressor/representation/kinds/additive_dequantize.h"

namespace bitsmith {
namespace {

// Inverse diagonal blocks [M * K, g, g] of the normal matrix: for centroid k of codebook m the sum
// of G_rr s_r^2 H_jj over the groups (r, j) that use it.
torch::Tensor inverse_blocks(const Objective& objective, const torch::Tensor& codebooks,
                             const torch::Tensor& scales, const torch::Tensor& codes) {
  const int64_t num_codebooks = codebooks.size(0), num_centroids = codebooks.size(1);
  const int64_t g = codebooks.size(2), out = scales.size(0), per_row = codes.size(0) / out;
  const auto sub_hessians = objective.sub_hessians(per_row * g, g).reshape({per_row, g * g});
  auto weights = torch::zeros({num_codebooks, num_centroids, per_row}, torch::kFloat);
  auto* w = weights.mutable_data_ptr<float>();
  const auto s = scales.dim() == 1 ? scales.unsqueeze(1).expand({out, per_row}).contiguous()
                                   : scales.contiguous();
  const auto* scale = s.const_data_ptr<float>();
  const auto* c = codes.const_data_ptr<int32_t>();
  const auto row_weights = objective.row_weights();
  const auto* of_row = row_weights.defined() ? row_weights.const_data_ptr<float>() : nullptr;
  parallel_tasks(num_codebooks, [&](int64_t m) {
    for (int64_t r = 0; r < out; ++r) {
      for (int64_t j = 0; j < per_row; ++j) {
        const int64_t k = c[(r * per_row + j) * num_codebooks + m];
        const float own = scale[r * per_row + j];
        const float square = own * own;
        w[(m * num_centroids + k) * per_row + j] += of_row ? of_row[r] * square : square;
      }
    }
  });
  auto sums = row_chunked_matmul(weights.reshape({-1, per_row}), sub_hessians).reshape({-1, g, g});
  // Unused centroids and dead inputs: a little on the diagonal keeps the inverse finite.
  const auto trace = sums.diagonal(0, 1, 2).sum(1);
  const auto floor = (1e-4 * trace / static_cast<double>(g)).clamp_min(1e-30);
  sums = sums + floor.reshape({-1, 1, 1}) * torch::eye(g, torch::kFloat);
  return torch::linalg_inv(sums.to(torch::kDouble)).to(torch::kFloat);
}

}  // namespace

torch::Tensor solve_codebooks(const torch::Tensor& weight, const Objective& objective,
                              const torch::Tensor& codebooks, const torch::Tensor& scales,
                              const torch::Tensor& codes, int iterations) {
  const auto inverse = inverse_blocks(objective, codebooks, scales, codes);
  const auto scatter = [&](const torch::Tensor& dense) {
    return additive_decode_transpose(dense, codebooks, scales, codes).codebooks;
  };
  const auto precondition = [&](const torch::Tensor& r) {
    return torch::bmm(inverse, r.reshape({inverse.size(0), -1, 1})).reshape(r.sizes());
  };
  const auto residual =
      scatter(objective.apply(weight - additive_decode(codebooks, scales, codes)));
  const auto apply = [&](const torch::Tensor& direction) {
    return scatter(objective.apply(additive_decode(direction, scales, codes)));
  };
  return conjugate_gradients(codebooks, residual, apply, precondition, iterations, /*systems=*/1);
}

torch::Tensor solve_scales(const torch::Tensor& weight, const Objective& objective,
                           const torch::Tensor& unscaled, const torch::Tensor& scales,
                           int iterations) {
  if (objective.joins_rows()) {
    const auto decode = [&](const torch::Tensor& s) { return unscaled * s.unsqueeze(1); };
    const auto gather = [&](const torch::Tensor& dense) { return (unscaled * dense).sum(1); };
    const auto curvature =
        Objective(objective.hessian).row_errors(unscaled, false).to(torch::kFloat) *
        objective.row_weights();
    const auto inverse =
        torch::where(curvature > 0, curvature, torch::ones_like(curvature)).reciprocal();
    return conjugate_gradients(
        scales, gather(objective.apply(weight - decode(scales))),
        [&](const torch::Tensor& x) { return gather(objective.apply(decode(x))); },
        [&](const torch::Tensor& r) { return r * inverse; }, iterations, /*systems=*/1);
  }
  const auto image =
      Objective(objective.hessian).apply(unscaled);  // a row's weight changes nothing
  const auto power = (image * unscaled).sum(1, false, torch::kDouble);
  const auto fit = (image * weight).sum(1, false, torch::kDouble) / power.clamp_min(1e-30);
  return torch::where((power > 0) & torch::isfinite(fit), fit, scales.to(torch::kDouble))
      .to(torch::kFloat);
}

torch::Tensor solve_group_scale_values(const torch::Tensor& weight, const Objective& objective,
                                       const torch::Tensor& unscaled, const GroupScales& groups,
                                       int iterations) {
  const int64_t g = unscaled.size(1) / groups.codes.size(1);
  const auto codes = groups.codes.reshape({-1}).to(torch::kLong);
  const auto decode = [&](const torch::Tensor& values) {
    const auto own = values.index_select(0, codes).unsqueeze(1);
    return (unscaled.reshape({-1, g}) * own).reshape(unscaled.sizes());
  };
  const auto gather = [&](const torch::Tensor& dense) {  // one thread: index_add's order is fixed
    const auto dots = (unscaled * dense).reshape({-1, g}).sum(1);
    return torch::zeros_like(groups.values).index_add_(0, codes, dots);
  };
  auto own = unscaled;
  if (objective.hessian.defined()) {
    const auto sub_hessians = objective.sub_hessians(unscaled.size(1), g);
    own = torch::zeros_like(unscaled);
    for (int64_t j = 0; j < unscaled.size(1); j += g) {
      own.narrow(1, j, g).copy_(torch::mm(unscaled.narrow(1, j, g), sub_hessians[j / g]));
    }
  }
  const auto row_weights = objective.row_weights();
  if (row_weights.defined()) own = own * row_weights.unsqueeze(1);
  const auto curvature = gather(own);
  const auto inverse =
      torch::where(curvature > 0, curvature, torch::ones_like(curvature)).reciprocal();
  const auto residual = gather(objective.apply(weight - decode(groups.values)));
  return conjugate_gradients(
      groups.values, residual,
      [&](const torch::Tensor& x) { return gather(objective.apply(decode(x))); },
      [&](const torch::Tensor& r) { return r * inverse; }, iterations, /*systems=*/1);
}

}  // namespace bitsmith
