// What strategies have in common that search codes in passes over the blocks of the whole model,
// between the steps: second passes of one-shot quantization (second_pass.h) and second-order V
// steps (second_order.h).
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "base/json.h"
#include "compressor/train/code_rules.h"
#include "compressor/tune/code_pass_options.h"
#include "compressor/tune/student.h"

namespace bitsmith {

struct CodePassJob {
  Student& student;
  Decoder& teacher;        // of the student's dtype, all blocks loaded
  torch::Tensor windows;   // [at least 2, length] int64: the Hessians' tokens
  torch::Tensor held_out;  // [n, length] int64: what changes are judged by, never trained on
  int64_t micro_windows;   // of a forward pass
  CodePassOptions options;
  uint64_t seed = 0;  // of the labels of end-loss gradients
  // Gets the share of the pass that is done; throws Interrupted to stop it.
  std::function<void(double share, const std::string& detail)> progress;
};

// What a pass has come to.
struct CodePassOutcome {
  int64_t blocks = 0;   // that have had their turn
  int64_t changed = 0;  // code groups that have other codes than at the last report
  double kl = 0;        // on the held-out windows, of the student as it is
  OrderedJson log;      // of what was kept
};

// A pass of this kind, or what is left of one of which `first_block` blocks are done. `report` gets
// what may be kept: with the student as it is then, another call goes on from there to the same
// end. Throws what job.progress throws, the student as at the last report.
void code_pass(CodePass kind, const CodePassJob& job, int64_t first_block,
               const std::function<void(const CodePassOutcome&)>& report);

}  // namespace bitsmith
