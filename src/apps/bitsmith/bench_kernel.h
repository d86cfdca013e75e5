// bitsmith bench --kernel: speed of one matrix.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "apps/command.h"

namespace bitsmith {

struct KernelBench {
  CommonOptions common;
  std::string shape;           // "OUTxIN"
  std::string representation;  // empty: bfloat16
  std::vector<int64_t> tokens;
  std::vector<int> over_threads;  // empty: common's
  int64_t repeats = 3;

  // Prints a table or JSON. Throws UsageError.
  void run() const;
};

}  // namespace bitsmith
