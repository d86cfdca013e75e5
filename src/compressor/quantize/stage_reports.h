// The error and the time of a method's stages, as they end.
#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "compressor/objective/objective.h"
#include "compressor/quantize/quantizer.h"

namespace bitsmith {

class StageReports {
 public:
  // The errors are shares of that of no weights at all, tr(G W H W^T).
  StageReports(std::vector<StageReport>& stages, const torch::Tensor& weight,
               const Objective& objective)
      : stages_(stages), total_(objective.error(weight, /*exact=*/false)) {}

  // The stage took the time since the last one.
  void add(const std::string& stage, double error) {
    const Clock::time_point now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    stages_.push_back({stage, total_ > 0 ? error / total_ : 0, seconds});
  }
  // Forgets all stages; the next one took the time of all of them.
  void restart() {
    stages_.clear();
    last_ = start_;
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::vector<StageReport>& stages_;
  Clock::time_point start_ = Clock::now(), last_ = start_;  // before the work for total_
  double total_;
};

}  // namespace bitsmith
