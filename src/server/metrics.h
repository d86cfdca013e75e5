// What the server has done so far, in Prometheus' text format.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "runtime/engine.h"

namespace bitsmith {

class Metrics {
 public:
  // From any thread.
  void count_response(const std::string& route, int status);
  std::string text(const EngineStats& engine) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, int64_t> responses_;  // by route and status
};

}  // namespace bitsmith
