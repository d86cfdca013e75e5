// The loss whose gradients say what an error costs at the end of the model: -log p of labels that
// the model draws itself. The mean of g g^T over such draws is the Fisher information, which is the
// second derivative of KL(model || model with a small error); labels of the text would give another
// matrix (Kunstner et al. 2019).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "compressor/model/decoder.h"
#include "compressor/torch.h"

namespace bitsmith {

struct SampledLoss {
  torch::Tensor labels;       // [n] int64
  torch::Tensor grad_hidden;  // d(sum of -log p(label)) / d hidden, [n, hidden]
};

// hidden [n, hidden] after the final norm, in the head's dtype. uniforms: a number in [0, 1) for
// each position. Logits exist for `chunk` positions at a time.
SampledLoss sampled_loss(const torch::Tensor& hidden, const OutputHead& head,
                         std::span<const double> uniforms, int64_t chunk = 256);

// One for each of `length` positions of the windows [first, first + count); what a window gets
// depends on its number and the seed alone.
std::vector<double> label_uniforms(uint64_t seed, int64_t first, int64_t count, int64_t length);

}  // namespace bitsmith
