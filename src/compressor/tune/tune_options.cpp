#include "compressor/tune/tune_options.h"

#include "base/error.h"

namespace bitsmith {

Strategy parse_strategy(const std::string& name) {
  if (name == "continuous") return Strategy::kContinuous;
  if (name == "pv") return Strategy::kPv;
  throw UsageError(concat("unknown strategy '", name, "': choose continuous or pv"));
}

const char* strategy_name(Strategy strategy) {
  return strategy == Strategy::kContinuous ? "continuous" : "pv";
}

}  // namespace bitsmith
