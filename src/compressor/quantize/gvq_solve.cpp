#include "compressor/quantize/gvq_solve.h"

#include "compressor/parallel.h"
#include "compressor/quantize/conjugate_gradients.h"
#include "compressor/representation/kinds/gvq.h"
#include "compressor/representation/kinds/gvq_dequantize.h"

namespace bitsmith {
namespace {

torch::Tensor decode(const GvqProblem& problem, const torch::Tensor& centroids) {
  return gvq_decode(problem.layout, centroids, problem.codes, problem.block_scales);
}

torch::Tensor scatter(const GvqProblem& problem, const torch::Tensor& matrix,
                      const torch::Tensor& centroids) {
  return gvq_decode_transpose(problem.layout, matrix, centroids, problem.codes,
                              problem.block_scales);
}

// The sum over its vectors of G_rr scale^2 H_jj for every centroid: [tiles * K, D, D].
torch::Tensor own_blocks(const GvqProblem& problem, const torch::Tensor& centroids) {
  const GvqLayout& layout = problem.layout;
  const int64_t d = layout.vector_size, in = problem.weight.size(1), out = problem.weight.size(0);
  const int64_t per_row = in / d, num_centroids = centroids.size(2);
  const auto sub_hessians = problem.objective.sub_hessians(in, d);
  const auto row_weights = problem.objective.row_weights();
  const auto codes = problem.codes.contiguous();
  const auto scales =
      problem.block_scales.defined() ? problem.block_scales.contiguous() : problem.block_scales;
  auto sums =
      torch::zeros({layout.strips * layout.column_groups * num_centroids, d, d}, torch::kFloat);
  const auto* sub_hessian = sub_hessians.const_data_ptr<float>();
  const auto* code = codes.const_data_ptr<int32_t>();
  auto* sum = sums.mutable_data_ptr<float>();
  parallel_tasks(layout.strips, [&](int64_t strip) {
    const int64_t end = std::min(out, (strip + 1) * layout.tile_rows);
    for (int64_t row = strip * layout.tile_rows; row < end; ++row) {
      for (int64_t j = 0; j < per_row; ++j) {
        const int64_t tile = strip * layout.column_groups + j / layout.codes_per_tile_row();
        float weight = 1;
        if (scales.defined()) {
          const int64_t per_scale = per_row / scales.size(1);
          weight = scales.const_data_ptr<float>()[row * scales.size(1) + j / per_scale];
          weight *= weight;
        }
        if (row_weights.defined()) weight *= row_weights.const_data_ptr<float>()[row];
        float* own = sum + (tile * num_centroids + code[row * per_row + j]) * d * d;
        for (int64_t i = 0; i < d * d; ++i) own[i] += weight * sub_hessian[j * d * d + i];
      }
    }
  });
  return sums;
}

torch::Tensor residual_of(const GvqProblem& problem, const torch::Tensor& centroids) {
  return scatter(problem, problem.objective.apply(problem.weight - decode(problem, centroids)),
                 centroids);
}

torch::Tensor normal_product(const GvqProblem& problem, const torch::Tensor& direction) {
  return scatter(problem, problem.objective.apply(decode(problem, direction)), direction);
}

// Strips do not share a codebook; a full output factor couples them nonetheless.
int64_t independent_systems(const GvqProblem& problem) {
  return problem.objective.joins_rows() ? 1 : problem.layout.strips;
}

// Where nothing is used the curvature is zero, and so is every residual: any positive number does.
torch::Tensor inverse_of(const torch::Tensor& curvature) {
  return torch::where(curvature > 0, curvature, torch::ones_like(curvature)).reciprocal();
}

}  // namespace

torch::Tensor solve_centroids(const GvqProblem& problem, const torch::Tensor& centroids,
                              int iterations) {
  const int64_t d = problem.layout.vector_size;
  const auto sums = own_blocks(problem, centroids);
  const auto trace = sums.diagonal(0, 1, 2).sum(1);
  const auto floor =
      torch::where(trace > 0, 1e-4 * trace / static_cast<double>(d), torch::ones_like(trace));
  const auto inverse =
      torch::linalg_inv(
          (sums + floor.reshape({-1, 1, 1}) * torch::eye(d, torch::kFloat)).to(torch::kDouble))
          .to(torch::kFloat);
  const auto apply = [&](const torch::Tensor& x) { return normal_product(problem, x); };
  const auto precondition = [&](const torch::Tensor& r) {
    return torch::bmm(inverse, r.reshape({-1, d, 1})).reshape(r.sizes());
  };
  return conjugate_gradients(centroids, residual_of(problem, centroids), apply, precondition,
                             iterations, independent_systems(problem));
}

LowRankCodebooks low_rank_codebooks(const torch::Tensor& centroids, int rank) {
  const auto stacked = centroids.reshape({-1, centroids.size(2)}).to(torch::kDouble);
  const auto [u, s, v] = torch::linalg_svd(stacked, /*full_matrices=*/false);
  const int64_t kept = std::min<int64_t>(rank, s.size(0));
  auto coefficients = torch::zeros({stacked.size(0), rank}, torch::kDouble);
  auto basis = torch::zeros({rank, stacked.size(1)}, torch::kDouble);
  coefficients.narrow(1, 0, kept).copy_(u.narrow(1, 0, kept) * s.narrow(0, 0, kept));
  basis.narrow(0, 0, kept).copy_(v.narrow(0, 0, kept));
  return {coefficients.to(torch::kFloat)
              .reshape({centroids.size(0), centroids.size(1), rank, 1})
              .contiguous(),
          basis.to(torch::kFloat).contiguous()};
}

LowRankCodebooks solve_low_rank(const GvqProblem& problem, const LowRankCodebooks& codebooks,
                                int iterations) {
  LowRankCodebooks now = codebooks;
  const auto curvature = own_blocks(problem, gvq_centroids(now.coefficients, now.basis))
                             .reshape({-1, now.basis.size(1)});  // [tiles, K]
  const auto tiles = now.coefficients.size(0) * now.coefficients.size(1);
  const auto flat = [&](const torch::Tensor& c) { return c.reshape({tiles, -1}); };
  const auto of_centroids = [&](const torch::Tensor& c) { return c.reshape({tiles, -1}); };

  {  // coefficients: centroids = coefficients basis
    const auto basis = now.basis;
    const auto back = [&](const torch::Tensor& c) {
      return torch::matmul(of_centroids(c), basis.t()).reshape(now.coefficients.sizes());
    };
    const auto inverse = inverse_of(torch::matmul(curvature, basis.square().t()));
    const auto residual = back(residual_of(problem, gvq_centroids(now.coefficients, basis)));
    const auto apply = [&](const torch::Tensor& x) {
      return back(normal_product(problem, gvq_centroids(x, basis)));
    };
    const auto precondition = [&](const torch::Tensor& r) {
      return (flat(r) * inverse).reshape(r.sizes());
    };
    now.coefficients = conjugate_gradients(now.coefficients, residual, apply, precondition,
                                           iterations, independent_systems(problem));
  }
  {  // basis, the same for all tiles
    const auto coefficients = flat(now.coefficients);
    const auto back = [&](const torch::Tensor& c) {
      return torch::matmul(coefficients.t(), of_centroids(c)).contiguous();
    };
    const auto inverse = inverse_of(torch::matmul(coefficients.square().t(), curvature));
    const auto residual = back(residual_of(problem, gvq_centroids(now.coefficients, now.basis)));
    const auto apply = [&](const torch::Tensor& x) {
      return back(normal_product(problem, gvq_centroids(now.coefficients, x)));
    };
    const auto precondition = [&](const torch::Tensor& r) { return r * inverse; };
    now.basis = conjugate_gradients(now.basis, residual, apply, precondition, iterations,
                                    /*systems=*/1);
  }
  return now;
}

}  // namespace bitsmith
