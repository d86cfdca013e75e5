// Adam (Kingma & Ba 2015) with the paper's (0.9, 0.95) and bias correction, no weight decay.
#pragma once
#include <string>

#include "compressor/torch.h"
#include "compressor/train/moment_format.h"
#include "compressor/train/state_memory.h"
#include "compressor/train/state_visitor.h"

namespace bitsmith {

struct AdamOptions {
  // Share of the first moment (the mean gradient) that a step keeps. Raise it where gradients are
  // noisy: it averages over about 2 / (1 - beta1) steps.
  double beta1 = 0.9;
  // The same for the second moment (the mean square). The paper's; torch's default is 0.999.
  double beta2 = 0.95;
  // Keeps a direction finite where no gradient was. Gradients here are 1e-6 and more.
  double epsilon = 1e-8;
  // Continuous parameters keep moments in float32, gradients of whole matrices (those of code
  // rules) in bfloat16: half the memory, and one step changes a moment by more than bfloat16's
  // spacing. Not kAuto.
  MomentFormat moments = MomentFormat::kFloat32;

  AdamOptions with(MomentFormat format) const {
    AdamOptions other = *this;
    if (format != MomentFormat::kAuto) other.moments = format;
    return other;
  }
};

// Moments of one tensor.
struct AdamState {
  torch::Tensor first = {}, second = {};  // the gradient's shape; undefined before the first step
  torch::Tensor first_scales = {}, second_scales = {};  // float32, one a block; of kEightBits alone
  StateMemory* memory = &StateMemory::plain();          // outlives the first step

  // Takes in `gradient` (float32) as step number `step` (from 1) and returns the update direction
  // m / (sqrt(v) + epsilon), bias-corrected, about 1 in size; the caller subtracts rate *
  // direction. One state has the same options in all steps. The same bytes with any number of
  // threads.
  torch::Tensor direction(const torch::Tensor& gradient, int64_t step, const AdamOptions& options);
  // Takes it in for a step that wants no direction: the same moments in less time.
  void take(const torch::Tensor& gradient, int64_t step, const AdamOptions& options);

  // Leaves `share` of the first moment of `rows` [n] int64 of [-1, row_size].
  void shrink_momentum(const torch::Tensor& rows, int64_t row_size, double share);

  // As NAME.first, NAME.second and, of kEightBits, NAME.first_scales and NAME.second_scales.
  void visit(const std::string& name, const StateVisitor& visitor) {
    visitor(name + ".first", first);
    visitor(name + ".second", second);
    visitor(name + ".first_scales", first_scales);
    visitor(name + ".second_scales", second_scales);
  }

 private:
  void begin(at::IntArrayRef shape, MomentFormat format);
  // `direction` [gradient's size]: null where none is wanted.
  void update(const torch::Tensor& gradient, int64_t step, const AdamOptions& options,
              float* direction);
};

}  // namespace bitsmith
