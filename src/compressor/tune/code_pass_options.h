// Options of strategies that search codes in passes over the blocks. No LibTorch here.
#pragma once
#include <cstdint>

namespace bitsmith {

struct CodePassOptions {
  // Passes of a run, evenly spaced, steps before and after each. More help where the steps between
  // them move the model far.
  // Default: 1
  int64_t passes = 1;

  // Training tokens that a pass makes its Hessians and cross terms of, other ones each time. Raise
  // it for wide matrices: it should be several times their inputs.
  // Default: 32768
  int64_t tokens = 32768;

  // Held-out tokens that a pass judges its changes by. The validation has others. More tell smaller
  // gains from chance, and take longer.
  // Default: 4096
  int64_t held_out_tokens = 4096;

  // Second passes fit continuous parameters to the new codes by the same objective. It undoes what
  // the steps have made of them: for runs whose passes come early.
  // Default: false
  bool solve = false;

  // Second-order V steps: the longest step that is tried, in units of Newton's for one matrix
  // alone. All matrices move at once, so that shorter ones are tried as well.
  // Default: 1
  double longest_step = 1;
};

}  // namespace bitsmith
