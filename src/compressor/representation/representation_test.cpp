#include "compressor/representation/representation.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/error.h"
#include "compressor/parallel.h"
#include "compressor/representation/additive_dequantize.h"
#include "compressor/representation/additive_term.h"
#include "compressor/representation/format_parts.h"
#include "compressor/representation/gvq_dequantize.h"
#include "compressor/representation/gvq_term.h"
#include "compressor/representation/low_rank_term.h"
#include "compressor/representation/representation.h"
#include "compressor/representation/sparse_term.h"
#include "compressor/representation/uniform_term.h"

namespace bitsmith {
namespace {

torch::Tensor random_codes(at::IntArrayRef shape, int nbits) {
  return torch::randint(int64_t{1} << nbits, shape, torch::kInt);
}

std::unique_ptr<CodedTerm> random_coded_term(const TermSpec& spec, int64_t out, int64_t in) {
  if (const auto* uniform = std::get_if<UniformSpec>(&spec)) {
    const int64_t groups = uniform->group_size > 0 ? in / uniform->group_size : 1;
    return std::make_unique<UniformTerm>(*uniform, 0.1 * torch::randn({out, groups}),
                                         random_codes({out, groups}, uniform->nbits),
                                         random_codes({out, in}, uniform->nbits));
  }
  if (const auto* gvq = std::get_if<GvqSpec>(&spec)) {
    const GvqLayout layout = gvq_layout(*gvq, out, in);
    const int64_t stored = gvq->rank > 0 ? gvq->rank : gvq->centroids();
    GvqTensors tensors;
    tensors.codebooks =
        torch::randn({layout.strips, layout.column_groups, stored, layout.vector_size});
    if (gvq->rank > 0) tensors.basis = torch::randn({gvq->rank, gvq->centroids()});
    tensors.codes = random_codes({out * in / layout.vector_size, 1}, gvq->index_bits);
    if (gvq->scale_block > 0) {
      tensors.block_scale_codes = random_codes({out, in / gvq->scale_block}, 4);
      tensors.block_scale_grid =
          round_to_fp16(0.1 * torch::randn({layout.strips, layout.column_groups, 2}));
    }
    return std::make_unique<GvqTerm>(*gvq, out, in, tensors);
  }
  const auto& additive = std::get<AdditiveSpec>(spec);
  const int64_t m = additive.num_codebooks, g = additive.in_group_size;
  GroupScales group_scales;
  if (additive.scale_bits > 0) {
    group_scales = {torch::rand({int64_t{1} << additive.scale_bits}) + 0.1,
                    random_codes({out, in / g}, additive.scale_bits)};
  }
  return std::make_unique<AdditiveTerm>(
      additive, torch::randn({m, int64_t{1} << additive.nbits_per_codebook, g}),
      torch::rand({out}) + 0.1, random_codes({out * in / g, m}, additive.nbits_per_codebook),
      group_scales);
}

std::unique_ptr<Representation> random_representation(const std::string& text, int64_t out,
                                                      int64_t in) {
  const RepresentationSpec spec = resolved(parse_representation(text), out, in);
  std::vector<std::unique_ptr<Term>> corrections;
  for (const TermSpec& term : spec.terms) {
    if (const auto* sparse = std::get_if<SparseSpec>(&term)) {
      const auto places = torch::randperm(out * in).narrow(0, 0, sparse->count);
      corrections.push_back(std::make_unique<SparseTerm>(std::get<0>(places.sort()),
                                                         torch::randn({sparse->count}), out, in));
    } else if (const auto* low_rank = std::get_if<LowRankSpec>(&term)) {
      corrections.push_back(std::make_unique<LowRankTerm>(torch::randn({out, low_rank->rank}),
                                                          torch::randn({low_rank->rank, in})));
    }
  }
  return std::make_unique<Representation>(
      random_coded_term(spec.terms.front(), out, in), std::move(corrections),
      spec.transform ? std::make_shared<const Rotation>(*spec.transform, out, in, 5) : nullptr);
}

class EveryRepresentation : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    torch::manual_seed(7);
    representation = random_representation(GetParam(), 24, 48);
  }
  std::unique_ptr<Representation> representation;
};

INSTANTIATE_TEST_SUITE_P(
    Specs, EveryRepresentation,
    testing::Values("int4g16", "int3g0", "int1g48", "int8g8-z", "int2g24-z", "aq2x8g8", "aq1x4g4",
                    "aq1x12g16", "aq3x5g2", "aq8x1g1", "aq2x4g8-s8x3", "aq1x5g6-s6x1",
                    "gvq2d2b-n256", "gvq2d1.5b-n200-c16", "gvq1d2b-n128-s8", "gvq4d1b-n400-t16-s16",
                    "gvq1d3b-n300-r3", "gvq1d2b-n128-s4-c16-r2", "int3g16+out2%", "aq2x8g8+lr3",
                    "gvq2d2b-n256+out1%+lr2", "int2g24-z+out1w", "had:int3g16", "had-in:aq2x8g8",
                    "had-out4:gvq2d2b-n256", "had-in4-out:int2g24-z+out1%+lr2"));

TEST_P(EveryRepresentation, FileHoldsExactlyWhatDequantizeGives) {
  representation->project();
  const QuantizedTensor file = representation->to_format();
  verify(file, "test");
  std::vector<float> rows(24 * 48);
  decode_rows(file, 0, 24, rows);
  const auto decoded = torch::from_blob(rows.data(), {24, 48}, torch::kFloat);
  EXPECT_TRUE(torch::equal(decoded, representation->dequantize()));

  const auto again = representation_from_format(file);
  EXPECT_TRUE(torch::equal(again->coded().codes(), representation->coded().codes()));
  EXPECT_TRUE(torch::equal(again->dequantize(), representation->dequantize()));
  const QuantizedTensor file_again = again->to_format();
  for (size_t i = 0; i < file.parts.size(); ++i) {
    EXPECT_TRUE(std::equal(file.parts[i].bytes.begin(), file.parts[i].bytes.end(),
                           file_again.parts[i].bytes.begin(), file_again.parts[i].bytes.end()));
  }
}

TEST_P(EveryRepresentation, BitsCountEveryByteOfTheFile) {
  size_t bytes = 0;
  for (const auto& part : representation->to_format().parts) bytes += part.bytes.size();
  EXPECT_DOUBLE_EQ(representation->bits(), 8.0 * static_cast<double>(bytes));
}

TEST_P(EveryRepresentation, ProjectionIsIdempotentAndFinite) {
  representation->continuous_parameters()[0].value.detach().flatten()[0] = 1e9;
  representation->project();
  const auto once = representation->dequantize().clone();
  representation->project();
  EXPECT_TRUE(torch::equal(once, representation->dequantize()));
  EXPECT_TRUE(torch::isfinite(once).all().item<bool>());
  verify(representation->to_format(), "test");
}

TEST_P(EveryRepresentation, GradientMatchesFiniteDifferences) {
  const auto direction = torch::randn({24, 48});
  const auto loss = [&] {
    return (representation->dequantize().to(torch::kDouble) * direction).sum();
  };
  loss().backward();
  for (const auto& parameter : representation->continuous_parameters()) {
    const auto step = torch::randn_like(parameter.value);
    const double expected = (parameter.value.grad() * step).sum().item<double>();
    // The matrix is linear in each parameter, so a long step is exact.
    const torch::NoGradGuard no_grad;
    const auto before = loss().item<double>();
    parameter.value.add_(step);
    EXPECT_NEAR(loss().item<double>() - before, expected, 1e-3 * (1 + std::abs(expected)))
        << parameter.name;
    parameter.value.sub_(step);
  }
}

TEST_P(EveryRepresentation, GroupsDecodeToTheirPlaceInTheMatrix) {
  const torch::NoGradGuard no_grad;
  CodedTerm* term = &representation->coded();
  const int64_t g = term->code_group_size();
  const auto code_groups = torch::arange(1, term->num_code_groups(), 3);
  const auto expected = term->dequantize().reshape({-1, g}).index_select(0, code_groups);
  const auto codes = term->codes().index_select(0, code_groups);
  EXPECT_TRUE(torch::equal(term->decode_code_groups(code_groups, codes), expected));

  const auto others = random_codes(codes.sizes(), 1);
  term->assign_codes(code_groups, others);
  const auto changed = term->dequantize().reshape({-1, g}).index_select(0, code_groups);
  EXPECT_TRUE(torch::equal(term->decode_code_groups(code_groups, others), changed));
}

TEST_P(EveryRepresentation, ForwardIsTheMatrixProductInTheInputsType) {
  const torch::NoGradGuard no_grad;
  const auto x = torch::randn({2, 3, 48}).to(torch::kBFloat16);
  const auto y = representation->forward(x);
  EXPECT_EQ(y.scalar_type(), torch::kBFloat16);
  const auto expected = torch::matmul(x.to(torch::kFloat), representation->dequantize().t());
  EXPECT_LT((y.to(torch::kFloat) - expected).norm().item<float>(),
            0.02 * expected.norm().item<float>());
}

TEST_P(EveryRepresentation, CodeSpaceIsTheSumsOwn) {
  const torch::NoGradGuard no_grad;
  torch::Tensor sum = representation->coded().dequantize();
  if (representation->spec().terms.size() > 1) return;
  const auto there = representation->to_code_space(representation->dequantize());
  EXPECT_LT((there - sum).norm().item<float>(), 1e-5 * sum.norm().item<float>());
}

TEST(Rotation, IsOrthogonalAndTheSameInEveryWay) {
  torch::manual_seed(6);
  const Rotation rotation({.in_block = 16, .out_block = 4}, 12, 48, 3);
  const auto w = torch::randn({12, 48}), x = torch::randn({5, 48});
  const auto v = rotation.to_code_space(w);
  EXPECT_LT((rotation.to_weights(v) - w).abs().max().item<float>(), 1e-5);
  EXPECT_NEAR(v.norm().item<double>(), w.norm().item<double>(), 1e-4);
  // x W^T in code space.
  const auto y = rotation.rotate_outputs(x.mm(w.t()));
  EXPECT_LT((rotation.rotate_inputs(x).mm(v.t()) - y).abs().max().item<float>(), 1e-4);
  const auto exact = rotation.rotate_inputs(x.to(torch::kDouble));  // the plain operations
  EXPECT_LT((rotation.rotate_inputs(x) - exact).abs().max().item<double>(), 1e-5);
  // Linears that share their inputs share the rotation.
  const Rotation other({.in_block = 16, .out_block = 0}, 20, 48, 3);
  EXPECT_TRUE(torch::equal(other.rotate_inputs(x), rotation.rotate_inputs(x)));
  EXPECT_TRUE(torch::equal(other.rotate_outputs(y), y));
}

TEST(UniformTerm, ZeroPointsMoveBetweenLevelsAndAreRoundedForTheFile) {
  torch::manual_seed(8);
  const UniformSpec spec{.nbits = 2, .group_size = 4, .zero_points = true};
  UniformTerm representation(spec, torch::rand({3, 2}) + 0.5, torch::full({3, 2}, 1),
                             random_codes({3, 8}, 2));
  const auto zeros = representation.continuous_parameters().at(1);
  EXPECT_EQ(zeros.name, "zeros");
  const torch::NoGradGuard no_grad;
  const auto before = representation.dequantize().clone();
  const auto scales = representation.continuous_parameters().at(0).value;
  zeros.value.add_(0.25);
  const auto moved = (before - representation.dequantize()).reshape({3, 2, 4});
  EXPECT_LT((moved - 0.25 * scales.unsqueeze(2)).abs().max().item<float>(), 1e-6);
  representation.project();
  EXPECT_TRUE(torch::equal(zeros.value, torch::full({3, 2}, 1.0f)));
  zeros.value.fill_(5);
  representation.project();
  EXPECT_TRUE(torch::equal(zeros.value, torch::full({3, 2}, 3.0f)));  // of two bits
}

TEST(AdditiveDequantize, IsTheSumOfGatheredVectors) {
  torch::manual_seed(3);
  const auto codebooks = torch::randn({3, 32, 8}), scales = torch::randn({11});
  const auto codes = random_codes({11 * 5, 3}, 5);
  EXPECT_TRUE(torch::equal(additive_decode(codebooks, scales, codes),
                           additive_dequantize_reference(codebooks, scales, codes)));
}

TEST(GvqDequantize, IsThePlainGather) {
  torch::manual_seed(5);
  const GvqLayout layout = gvq_layout(
      {.vector_size = 2, .index_bits = 4, .codebook_weights = 400, .scale_block = 8}, 37, 96);
  const auto centroids = torch::randn({layout.strips, layout.column_groups, 16, 2});
  const auto codes = random_codes({37 * 48, 1}, 4);
  for (const auto& scales : {torch::Tensor(), torch::rand({37, 12})}) {
    EXPECT_TRUE(torch::equal(gvq_decode(layout, centroids, codes, scales),
                             gvq_dequantize_reference(layout, centroids, codes, scales)));
  }
}

TEST(AdditiveDequantize, GradientDoesNotDependOnThreads) {
  torch::manual_seed(4);
  const auto codebooks = torch::randn({2, 256, 8}), scales = torch::randn({130});
  const auto codes = random_codes({130 * 20, 2}, 8), grad = torch::randn({130, 160});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = additive_decode_transpose(grad, codebooks, scales, codes);
  at::set_num_threads(3);
  const auto three = additive_decode_transpose(grad, codebooks, scales, codes);
  at::set_num_threads(threads);
  EXPECT_TRUE(torch::equal(one.codebooks, three.codebooks));
  EXPECT_TRUE(torch::equal(one.scales, three.scales));
}

// Without OpenMP at::parallel_for compiles too, and runs everything on one thread.
TEST(Parallel, TasksRunAtTheSameTime) {
  const int before = at::get_num_threads();
  at::set_num_threads(2);
  std::atomic<int> started{0}, met{0};
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  parallel_tasks(2, [&](int64_t) {
    ++started;
    while (started < 2 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    met += started == 2;
  });
  at::set_num_threads(before);
  EXPECT_EQ(met, 2);
}

}  // namespace
}  // namespace bitsmith
