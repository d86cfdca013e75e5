#include "compressor/train/rate_schedule.h"

#include <cmath>
#include <numbers>

#include "base/name_table.h"

namespace bitsmith {
namespace {

constexpr NameTable<Schedule, 3> kSchedules = {"schedule",
                                               {{Schedule::kConstant, "constant"},
                                                {Schedule::kLinear, "linear"},
                                                {Schedule::kCosine, "cosine"}}};

// Share of the way to the final rate.
double fallen(Schedule schedule, double share) {
  switch (schedule) {
    case Schedule::kConstant:
      return 0;
    case Schedule::kLinear:
      return share;
    case Schedule::kCosine:
      return 0.5 * (1 - std::cos(std::numbers::pi * share));
  }
  BITSMITH_CHECK(false);
  return 0;
}

}  // namespace

std::string option_text(Schedule schedule) { return kSchedules.name(schedule); }
void parse_option(const std::string& text, Schedule& schedule) {
  schedule = kSchedules.parse(text);
}

double RateSchedule::rate(int64_t step, double share) const {
  const double rate = 1.0 - (1.0 - final_rate) * fallen(schedule, share);
  if (step >= warmup_steps) return rate;
  return rate * static_cast<double>(step) / static_cast<double>(warmup_steps);
}

}  // namespace bitsmith
