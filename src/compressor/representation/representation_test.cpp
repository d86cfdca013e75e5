#include "compressor/representation/representation.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/error.h"
#include "compressor/parallel.h"
#include "compressor/representation/kinds/additive_dequantize.h"
#include "compressor/representation/kinds/gvq_dequantize.h"
#include "compressor/representation/kinds/uniform.h"
#include "format/random_tensor.h"

namespace bitsmith {
namespace {

torch::Tensor random_codes(at::IntArrayRef shape, int nbits) {
  return torch::randint(int64_t{1} << nbits, shape, torch::kInt);
}

TEST(Representation, ForwardIsTheMatrixProductInTheInputsType) {
  const torch::NoGradGuard no_grad;
  Random random(3);
  for (const char* name : {"int4g16", "had:aq2x8g8+lr3"}) {
    const auto representation =
        representation_from_format(random_tensor(parse_representation(name), 24, 48, random));
    const auto x = torch::randn({2, 3, 48}).to(torch::kBFloat16);
    const auto y = representation->forward(x);
    EXPECT_EQ(y.scalar_type(), torch::kBFloat16);
    const auto expected = torch::matmul(x.to(torch::kFloat), representation->dequantize().t());
    EXPECT_LT((y.to(torch::kFloat) - expected).norm().item<float>(),
              0.02 * expected.norm().item<float>());
  }
}

TEST(CodedTerm, CodesTakeAByteWhereTheyFit) {
  Random random(4);
  for (const auto& [name, type] :
       {std::pair{"int8g16", torch::kByte}, std::pair{"gvq2d4b-n4096", torch::kByte},
        std::pair{"aq1x8g4", torch::kByte}, std::pair{"aq1x9g4", torch::kInt},
        std::pair{"e8p", torch::kInt}}) {
    const auto representation =
        representation_from_format(random_tensor(parse_representation(name), 64, 64, random));
    CodedTerm& term = representation->coded();
    EXPECT_EQ(term.codes().scalar_type(), type) << name;
    const torch::NoGradGuard no_grad;
    // What searches give is assigned to them, and says the same.
    const auto target = term.dequantize().clone();
    const auto found = term.search_codes(target, {}, {});
    EXPECT_EQ(found.scalar_type(), torch::kInt) << name;
    term.codes().zero_();
    term.assign_codes({}, found);
    EXPECT_LT((term.dequantize() - target).abs().max().item<float>(), 1e-6) << name;
    const auto some = torch::tensor({3, 5}, torch::kInt64);
    term.codes().zero_();
    term.assign_codes(some, found.index_select(0, some));
    EXPECT_TRUE(torch::equal(term.codes().index_select(0, some).to(torch::kInt),
                             found.index_select(0, some)))
        << name;
  }
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

// They begin as the signs that are not real, and are data from then on.
TEST(Rotation, RealSignsAreTrained) {
  torch::manual_seed(7);
  const TransformSpec spec{.in_block = 16, .out_block = 4, .real_signs = true};
  Rotation rotation(spec, 12, 48, 3);
  const Rotation plain({.in_block = 16, .out_block = 4}, 12, 48, 3);
  const auto v = torch::randn({12, 48});
  EXPECT_TRUE(plain.continuous_parameters().empty());
  EXPECT_TRUE(torch::equal(rotation.to_weights(v), plain.to_weights(v)));
  EXPECT_TRUE(torch::equal(rotation.to_code_space(v), plain.to_code_space(v)));
  const auto parameters = rotation.continuous_parameters();
  ASSERT_EQ(parameters.size(), 2u);
  for (const auto& parameter : parameters) {
    const torch::NoGradGuard no_grad;
    parameter.value.mul_(1 + 0.3 * torch::randn_like(parameter.value));
  }
  const auto before = parameters[0].value.detach().clone();
  rotation.project();
  EXPECT_FALSE(torch::equal(parameters[0].value, before));  // fp16
  EXPECT_LT((parameters[0].value - before).abs().max().item<float>(), 2e-3);
  const auto w = rotation.to_weights(v).detach();
  EXPECT_LT((rotation.to_code_space(w) - v).abs().max().item<float>(), 1e-4);
  // A column of W is scaled by its input's sign, a row by its output's.
  const auto two = torch::tensor({2.0f});
  {
    const torch::NoGradGuard no_grad;
    parameters[0].value.slice(0, 3, 4).mul_(two);
    parameters[1].value.slice(0, 5, 6).mul_(two);
  }
  auto expected = w.clone();
  expected.select(1, 3).mul_(2);
  expected.select(0, 5).mul_(2);
  EXPECT_LT((rotation.to_weights(v) - expected).abs().max().item<float>(), 1e-4);
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
  const auto expected = additive_dequantize_reference(codebooks, scales, codes);
  for (const auto type : {torch::kInt, torch::kByte}) {
    EXPECT_TRUE(torch::equal(additive_decode(codebooks, scales, codes.to(type)), expected));
    EXPECT_TRUE(
        torch::equal(additive_dequantize_reference(codebooks, scales, codes.to(type)), expected));
  }
}

TEST(GvqDequantize, IsThePlainGather) {
  torch::manual_seed(5);
  const GvqLayout layout = gvq_layout(
      {.vector_size = 2, .index_bits = 4, .codebook_weights = 400, .scale_block = 8}, 37, 96);
  const auto centroids = torch::randn({layout.strips, layout.column_groups, 16, 2});
  const auto codes = random_codes({37 * 48, 1}, 4);
  for (const auto& scales : {torch::Tensor(), torch::rand({37, 12})}) {
    const auto expected = gvq_dequantize_reference(layout, centroids, codes, scales);
    EXPECT_TRUE(torch::equal(gvq_decode(layout, centroids, codes, scales), expected));
    EXPECT_TRUE(
        torch::equal(gvq_decode(layout, centroids, codes.to(torch::kByte), scales), expected));
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
  const auto of_bytes = additive_decode_transpose(grad, codebooks, scales, codes.to(torch::kByte));
  EXPECT_TRUE(torch::equal(one.codebooks, three.codebooks));
  EXPECT_TRUE(torch::equal(one.scales, three.scales));
  EXPECT_TRUE(torch::equal(one.codebooks, of_bytes.codebooks));
  EXPECT_TRUE(torch::equal(one.scales, of_bytes.scales));
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
