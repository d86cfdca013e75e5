// One step of PV-Tuning on the quick-start model: tokens/s, and the ratio to its floor of 8 N flops
// a token (teacher forward 2 N, student forward 2 N, backward 4 N) at the rate of the model's own
// matrix products, measured in the same run. BITSMITH_MODEL names another model.
#include <benchmark/benchmark.h>
#include "compressor/torch.h"

#include <chrono>
#include <cstdlib>

#include "base/half.h"
#include "base/random.h"
#include "compressor/train/code_rules.h"
#include "compressor/tune/tuning_step.h"

namespace bitsmith {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Random codes in the representation: a step costs the same whatever the weights are.
std::shared_ptr<Representation> random_representation(const Linear& linear) {
  const auto tensor =
      allocate_quantized(parse_representation("aq2x8g8"), linear.out_features, linear.in_features);
  Random random(1);
  for (const TensorView& part : tensor.parts) {
    const auto bytes = mutable_part(tensor, part.name);
    for (size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<std::byte>(random.next() & 255);
    if (part.dtype != DType::F16) continue;
    auto* values = reinterpret_cast<uint16_t*>(bytes.data());
    for (size_t i = 0; i < bytes.size() / 2; ++i) {
      values[i] =
          float_to_fp16(static_cast<float>(part.name == "scales" ? 1.0 : 0.1 * random.normal()));
    }
  }
  return representation_from_format(tensor);
}

// flops/s of a [tokens, in] x [in, out] product, the best of some runs.
double gemm_rate(torch::Dtype dtype, int64_t tokens, int64_t in, int64_t out) {
  const auto x = torch::randn({tokens, in}).to(dtype), w = torch::randn({out, in}).to(dtype);
  double best = 1e9;
  for (int repeat = 0; repeat < 10; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    benchmark::DoNotOptimize(at::linear(x, w));
    best = std::min(best, seconds_since(start));
  }
  return 2.0 * static_cast<double>(tokens * in * out) / best;
}

void tuning_step(benchmark::State& state, torch::Dtype dtype, bool change_codes) {
  const char* named = std::getenv("BITSMITH_MODEL");
  const std::string path = named != nullptr ? named : "models/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) {
    state.SkipWithError(("no model at " + path + ": run ./setup, or set BITSMITH_MODEL").c_str());
    return;
  }
  const auto files = ModelFiles::open(path);
  const ModelPlan& model = files->plan();
  const auto teacher = Decoder::load(files, dtype);
  auto decoder = Decoder::load(files, dtype);
  for (const auto& block : decoder->blocks()) {
    for (Linear* linear : block->linears()) linear->representation = random_representation(*linear);
  }
  CodeRuleOptions rule;
  rule.schedule = {.p_steps = 1, .start = change_codes ? 0.0 : 2.0};
  Student student(std::move(decoder), *teacher, code_rule_factory("pv", rule));
  const int64_t batch = 4, length = 512;
  const TrainingWindows windows = {
      torch::arange(batch), torch::randint(0, model.vocab_size, {batch, length}, torch::kInt64)};
  DecoderTeacher targets(*teacher);
  TuningStepOptions options;
  options.micro_windows = batch;
  options.learning_rate = 1e-3;
  RunPosition at{.step = 0};
  double seconds = 0;
  for (auto _ : state) {
    ++at.step;
    const auto start = std::chrono::steady_clock::now();
    benchmark::DoNotOptimize(tuning_step(student, targets, windows, at, options));
    seconds += seconds_since(start);
  }
  const double tokens =
      static_cast<double>(batch * length) * static_cast<double>(state.iterations());
  double parameters = static_cast<double>(model.vocab_size * model.hidden_size);
  for (const BlockPlan& block : model.blocks) {
    for (const LinearPlan* linear : linears(block))
      parameters += static_cast<double>(linear->out_features * linear->in_features);
  }
  const LinearPlan& down = model.blocks.front().mlp->output;
  const double rate = gemm_rate(dtype, batch * length, down.out_features, down.in_features);
  const double floor = rate / (8 * parameters);  // tokens/s
  state.counters["tokens/s"] = tokens / seconds;
  state.counters["GEMM_GFLOP/s"] = rate / 1e9;
  state.counters["floor_tokens/s"] = floor;
  state.counters["of_floor"] = tokens / seconds / floor;
}

// With the defaults a V step comes every fourth step, from 0.4 of the run on.
BENCHMARK_CAPTURE(tuning_step, bfloat16, torch::kBFloat16, false)
    ->Unit(benchmark::kSecond)
    ->Iterations(4)
    ->UseRealTime();
BENCHMARK_CAPTURE(tuning_step, bfloat16_with_v_step, torch::kBFloat16, true)
    ->Unit(benchmark::kSecond)
    ->Iterations(3)
    ->UseRealTime();
BENCHMARK_CAPTURE(tuning_step, float32, torch::kFloat32, false)
    ->Unit(benchmark::kSecond)
    ->Iterations(3)
    ->UseRealTime();

}  // namespace
}  // namespace bitsmith
