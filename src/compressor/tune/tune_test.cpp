#include <gtest/gtest.h>
#include <torch/optim.h>

#include <cmath>

#include "base/half.h"
#include "base/random.h"
#include "compressor/torch.h"
#include "compressor/tune/adam.h"
#include "compressor/tune/kl_loss.h"
#include "compressor/tune/v_step.h"

namespace bitsmith {
namespace {

struct KlCase {
  torch::Tensor teacher, student, head;
};

KlCase kl_case(int64_t n, int64_t hidden, int64_t vocab) {
  torch::manual_seed(1);
  return {torch::randn({n, hidden}), torch::randn({n, hidden}),
          0.4 * torch::randn({vocab, hidden})};
}

// The textbook form, by autograd, in float64.
std::pair<double, torch::Tensor> reference_kl(const KlCase& c) {
  auto student = c.student.to(torch::kFloat64).requires_grad_(true);
  const auto head = c.head.to(torch::kFloat64);
  const auto log_p = torch::log_softmax(torch::linear(c.teacher.to(torch::kFloat64), head), 1);
  const auto log_q = torch::log_softmax(torch::linear(student, head), 1);
  const auto kl = (log_p.exp() * (log_p - log_q)).sum();
  kl.backward();
  return {kl.item<double>(), student.grad()};
}

TEST(KlLoss, EqualsAutogradInFloat32) {
  for (const int64_t vocab : {7, 16, 1000, 1003}) {
    const KlCase c = kl_case(37, 24, vocab);
    const auto [value, gradient] = reference_kl(c);
    const KlResult kl = kl_divergence(c.teacher, c.head, c.student, c.head, true, 1.0, 10);
    EXPECT_NEAR(kl.sum, value, 1e-4 * value) << vocab;
    EXPECT_LT((kl.grad_hidden - gradient).norm().item<double>(),
              1e-5 * gradient.norm().item<double>());
  }
}

TEST(KlLoss, IsCloseInBfloat16AndScalesItsGradient) {
  KlCase c = kl_case(64, 32, 500);
  for (auto* t : {&c.teacher, &c.student, &c.head})
    *t = t->to(torch::kBFloat16).to(torch::kFloat32);
  const auto [value, gradient] = reference_kl(c);
  const auto half = [](const torch::Tensor& t) { return t.to(torch::kBFloat16); };
  const KlResult kl =
      kl_divergence(half(c.teacher), half(c.head), half(c.student), half(c.head), true, 0.25, 64);
  // Logits of size ~3 are rounded to 2^-9 of themselves.
  EXPECT_NEAR(kl.sum, value, 2e-2 * value);
  EXPECT_LT((kl.grad_hidden.to(torch::kFloat64) - 0.25 * gradient).norm().item<double>(),
            3e-2 * 0.25 * gradient.norm().item<double>());
}

TEST(KlLoss, IsZeroForEqualModels) {
  const KlCase c = kl_case(5, 16, 300);
  const KlResult kl = kl_divergence(c.student, c.head, c.student, c.head, true);
  EXPECT_NEAR(kl.sum, 0.0, 1e-5);
  EXPECT_LT(kl.grad_hidden.abs().max().item<double>(), 1e-5);
}

TEST(Adam, EqualsTorchsAdam) {
  torch::manual_seed(2);
  auto reference = torch::randn({40, 8}).requires_grad_(true);
  auto value = reference.detach().clone();
  torch::optim::Adam optimizer({reference},
                               torch::optim::AdamOptions(0.01).betas({0.9, 0.95}).eps(1e-8));
  AdamState adam;
  for (int64_t step = 1; step <= 5; ++step) {
    const auto gradient = torch::randn({40, 8});
    reference.mutable_grad() = gradient.clone();
    optimizer.step();
    value.sub_(adam.direction(gradient, step, torch::kFloat32, {}), 0.01);
  }
  EXPECT_LT((value - reference).abs().max().item<double>(), 1e-6);
}

// What TuningStepResult::update_power is compared with.
TEST(Adam, AveragesNoiseAway) {
  torch::manual_seed(5);
  const AdamOptions options{.beta1 = 0.95, .beta2 = 0.999};
  AdamState adam;
  torch::Tensor direction;
  constexpr int kSteps = 60;
  for (int step = 1; step <= kSteps; ++step) {
    direction = adam.direction(0.01 * torch::randn({100000}), step, torch::kFloat32, options);
  }
  const double b = options.beta1, left = std::pow(b, kSteps);
  const double noise = (1 - b) / (1 + b) * (1 - left * left) / std::pow(1 - left, 2);
  EXPECT_NEAR(direction.square().mean().item<double>(), noise, 0.05 * noise);
}

// A matrix with random codes; fp16 codebooks and scales as in a file.
std::unique_ptr<Representation> random_representation(const std::string& spec, int64_t out,
                                                      int64_t in) {
  const QuantizedTensor tensor = allocate_quantized(parse_representation(spec), out, in);
  Random random(3);
  for (const TensorView& part : tensor.parts) {
    const auto bytes = mutable_part(tensor, part.name);
    if (part.dtype == DType::F16) {
      auto* values = reinterpret_cast<uint16_t*>(bytes.data());
      for (size_t i = 0; i < bytes.size() / 2; ++i) {
        const double value = part.name == "scales" ? 0.5 + random.uniform() : 0.1 * random.normal();
        values[i] = float_to_fp16(static_cast<float>(value));
      }
    } else {
      for (auto& byte : bytes) byte = static_cast<std::byte>(random.next() & 255);
    }
  }
  return representation_from_format(tensor);
}

class VStep : public testing::TestWithParam<const char*> {};

TEST_P(VStep, KeepsTheTrustRegionAndGoesDownhill) {
  const auto representation = random_representation(GetParam(), 48, 64);
  torch::manual_seed(4);
  const auto direction = torch::randn({48, 64});
  const auto before = representation->dequantize().detach().clone();
  const auto codes_before = representation->coded().codes().clone();
  const double code_unit = before.square().mean().sqrt().item<double>();
  VStepOptions options{.step = 1.0, .trust_ratio = 0.15, .chunk = 0.02, .max_chunks = 50};
  const VStepResult result = v_step(*representation, direction, code_unit, options);
  const auto change = representation->dequantize().detach() - before;
  const double change_rms = change.square().mean().sqrt().item<double>();
  EXPECT_GT(result.changed.numel(), 0);
  EXPECT_LE(change_rms, options.trust_ratio * code_unit * (1 + 1e-5));
  EXPECT_NEAR(change_rms, result.change, 1e-5);
  // Nearest codes to W - step * direction: the linearized objective falls.
  EXPECT_LT((representation->to_code_space(change) * direction).sum().item<double>(), 0.0);
  const auto differ = (representation->coded().codes() != codes_before).any(1).nonzero().squeeze(1);
  EXPECT_TRUE(torch::equal(differ, std::get<0>(result.changed.sort())));
}

TEST_P(VStep, ChangesNothingWithoutAnUpdate) {
  const auto representation = random_representation(GetParam(), 32, 32);
  const auto before = representation->dequantize().detach().clone();
  v_step(*representation, torch::zeros({32, 32}), 0.1, {});
  EXPECT_TRUE(torch::equal(representation->dequantize().detach(), before));
}

INSTANTIATE_TEST_SUITE_P(Representations, VStep,
                         testing::Values("int3g16", "aq1x4g4", "aq2x8g8", "aq1x4g4-s4x2",
                                         "gvq2d2b-n512", "int3g16+lr2", "had:int3g16"));

}  // namespace
}  // namespace bitsmith
