// The objective and the time of a method's stages, as they end.
#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "compressor/quantize/quantizer.h"

namespace bitsmith {

class StageReports {
 public:
  // total: the objective of no weights at all, which those of the stages are shares of.
  StageReports(std::vector<StageReport>& stages, double total) : stages_(stages), total_(total) {}

  // The stage took the time since the last one.
  void add(const std::string& stage, double objective) {
    const Clock::time_point now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    stages_.push_back({stage, total_ > 0 ? objective / total_ : 0, seconds});
  }
  // Forgets all stages; the next one took the time of all of them.
  void restart() {
    stages_.clear();
    last_ = start_;
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::vector<StageReport>& stages_;
  double total_;
  Clock::time_point start_ = Clock::now(), last_ = start_;
};

}  // namespace bitsmith
