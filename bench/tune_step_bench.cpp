// One step of PV-Tuning on the quick-start model with the default batch: tokens/s, and each part's
// seconds beside its floor (compressor/tune/step_work.h) at the rates of matrix products and of
// main memory in the same run. of_8n: the whole against 8 N flops a token (the teacher's forward
// pass, the student's, its backward pass), N with the head.
// BITSMITH_MODEL and BITSMITH_REPRESENTATION name others; --benchmark_format=json for programs.
#include <benchmark/benchmark.h>
#include "compressor/torch.h"

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/random.h"
#include "base/thread_pool.h"
#include "compressor/model/gemm_rate.h"
#include "compressor/model/torch_threads.h"
#include "compressor/train/code_rules.h"
#include "compressor/tune/step_work.h"
#include "compressor/tune/tuning_step.h"
#include "format/random_tensor.h"
#include "kernels/machine_limits.h"

namespace bitsmith {
namespace {

constexpr int64_t kWindows = 8, kMicroWindows = 4, kLength = 512;

std::string setting(const char* name, const char* usual) {
  const char* given = std::getenv(name);
  return given != nullptr ? given : usual;
}

// Random codes in the representation: a step costs the same whatever the weights are.
std::unique_ptr<Student> random_student(const std::shared_ptr<const ModelFiles>& files,
                                        torch::Dtype dtype, Decoder& teacher, bool searches_codes) {
  auto decoder = Decoder::load(files, dtype);
  const auto spec = parse_representation(setting("BITSMITH_REPRESENTATION", "aq2x8g8"));
  Random random(1);
  for (const auto& block : decoder->blocks()) {
    for (Linear* linear : block->linears()) {
      linear->representation = representation_from_format(
          random_tensor(spec, linear->out_features, linear->in_features, random));
    }
  }
  CodeRuleOptions rule;
  rule.schedule = {.p_steps = 1, .start = searches_codes ? 0.0 : 2.0};
  return std::make_unique<Student>(std::move(decoder), teacher, code_rule_factory("pv", rule));
}

double weight_count(Student& student) {
  auto weights = static_cast<double>(student.decoder().head().weight.numel());
  for (TunedLinear& tuned : student.linears())
    weights += static_cast<double>(tuned.gradient.numel());
  return weights;
}

// Seconds of each part in `steps` steps, and what they are of its floor in one.
void report_parts(benchmark::State& state, const StepSeconds& seconds, double steps,
                  const StepWork& work, double rate, double bandwidth) {
  for (size_t i = 0; i < kStepParts; ++i) {
    const std::string part = step_part_name(static_cast<StepPart>(i));
    const double each = seconds[i] / steps, floor = work[i].seconds(rate, bandwidth);
    state.counters[part + "_seconds"] = each;
    state.counters[part + "_floor_seconds"] = floor;
    if (floor > 0 && each > 0) state.counters[part + "_of_floor"] = floor / each;
  }
}

void tuning_step(benchmark::State& state, torch::Dtype dtype, bool searches_codes) {
  const std::string path = setting("BITSMITH_MODEL", "models/SmolLM2-135M-Instruct.Q4_1.gguf");
  if (!std::filesystem::exists(path)) {
    state.SkipWithError(("no model at " + path + ": run ./setup, or set BITSMITH_MODEL").c_str());
    return;
  }
  keep_freed_memory();
  const auto files = ModelFiles::open(path);
  const auto teacher = Decoder::load(files, dtype);
  const auto student = random_student(files, dtype, *teacher, searches_codes);
  const TrainingWindows windows = {
      torch::arange(kWindows),
      torch::randint(files->plan().vocab_size, {kWindows, kLength}, torch::kInt64)};
  DecoderTeacher targets(*teacher);
  TuningStepOptions options;
  options.micro_windows = kMicroWindows;
  options.learning_rate = 1e-3;
  RunPosition at{.step = 1};
  tuning_step(*student, targets, windows.narrow(0, 1), at, options);  // its state begins
  StepSeconds seconds = {};
  for (auto _ : state) {
    ++at.step;
    const TuningStepResult done = tuning_step(*student, targets, windows, at, options);
    for (size_t i = 0; i < kStepParts; ++i) seconds[i] += done.seconds[i];
  }

  const auto steps = static_cast<double>(state.iterations());
  const LinearPlan& down = *linears(files->plan().blocks.front()).back();
  const double rate =
      gemm_rate(dtype, kMicroWindows * kLength, down.in_features, down.out_features);
  ThreadPool pool(at::get_num_threads());
  const double bandwidth = read_bandwidth(pool, int64_t{1} << 30);
  const StepWork work = step_work(
      *student, {.windows = kWindows, .length = kLength, .searches_codes = searches_codes});
  report_parts(state, seconds, steps, work, rate, bandwidth);
  double whole = 0;
  for (const double part : seconds) whole += part;
  const double rate_of_tokens = kWindows * kLength * steps / whole;
  const double weights = weight_count(*student);
  state.counters["tokens/s"] = rate_of_tokens;
  state.counters["of_8n"] = rate_of_tokens * 8 * weights / rate;
  state.counters["GEMM_GFLOP/s"] = rate / 1e9;
  state.counters["memory_GB/s"] = bandwidth / 1e9;
  const auto head = static_cast<double>(student->decoder().head().weight.numel());
  state.counters["bytes_a_weight"] =
      static_cast<double>(student->matrix_bytes()) / (weights - head);
}

// With the defaults a V step comes every fourth step, from 0.4 of the run on.
BENCHMARK_CAPTURE(tuning_step, bfloat16, torch::kBFloat16, false)
    ->Unit(benchmark::kSecond)
    ->Iterations(2)
    ->UseRealTime();
BENCHMARK_CAPTURE(tuning_step, bfloat16_with_v_step, torch::kBFloat16, true)
    ->Unit(benchmark::kSecond)
    ->Iterations(2)
    ->UseRealTime();
BENCHMARK_CAPTURE(tuning_step, float32, torch::kFloat32, false)
    ->Unit(benchmark::kSecond)
    ->Iterations(2)
    ->UseRealTime();

}  // namespace
}  // namespace bitsmith
