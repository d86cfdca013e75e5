// How the rates of a run rise and fall.
#pragma once
#include <cstdint>
#include <string>

namespace bitsmith {

// After the warm-up: kConstant stays, as in PV-Tuning (appendix I); kLinear and kCosine fall to the
// final rate, the one evenly, the other first slowly, then fast, then slowly (Loshchilov & Hutter
// 2017, without restarts).
enum class Schedule { kConstant, kLinear, kCosine };

// How they are written: "constant", "linear", "cosine". UsageError names the choices.
std::string option_text(Schedule schedule);
void parse_option(const std::string& text, Schedule& schedule);

struct RateSchedule {
  Schedule schedule = Schedule::kLinear;

  // The learning rate, the trust ratio and the steps of the other strategies fall to this share of
  // themselves over the run, unless they are constant. Default: 0.1
  double final_rate = 0.1;

  // Steps at the start of a run in which rates rise evenly from 0. For large learning rates, whose
  // first steps follow moments of a few gradients.
  // Default: 0
  int64_t warmup_steps = 0;

  // What is left of all rates in step `step` (from 1), after the share `share` in [0, 1) of the
  // run.
  double rate(int64_t step, double share) const;
};

}  // namespace bitsmith
