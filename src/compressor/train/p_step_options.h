// How continuous parameters move in a P step.
#pragma once
#include <string>

#include "compressor/train/adam.h"

namespace bitsmith {

// kAdam: by rate * unit * direction, the unit a tensor's root mean square at the start. kLamb: by
// rate times the tensor's own norm, along the direction (You et al. 2020, algorithm 2): a step has
// the same length whatever Adam's direction comes to.
enum class Optimizer { kAdam, kLamb };

// How they are written: "adam", "lamb". UsageError names the choices.
std::string option_text(Optimizer optimizer);
void parse_option(const std::string& text, Optimizer& optimizer);

struct PStepOptions {
  Optimizer optimizer = Optimizer::kAdam;
  AdamOptions adam = {};
  // Share of the rate by which a step takes codebooks, scales and factors toward zero, beside the
  // loss (decoupled, Loshchilov & Hutter 2019; with LAMB a part of the direction). Not norms and
  // biases.
  double weight_decay = 0;
};

}  // namespace bitsmith
