#include "compressor/quantize_model/sampled_loss.h"

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "compressor/parallel.h"

namespace bitsmith {
namespace {

// The first index at which the sum of probabilities exceeds `uniform`; where rounding keeps the
// whole sum below it, the last one that is possible.
int64_t draw(std::span<const float> probabilities, double uniform) {
  double sum = 0;
  int64_t last = 0;
  for (size_t i = 0; i < probabilities.size(); ++i) {
    if (!(probabilities[i] > 0)) continue;
    last = static_cast<int64_t>(i);
    sum += static_cast<double>(probabilities[i]);
    if (sum > uniform) break;
  }
  return last;
}

}  // namespace

SampledLoss sampled_loss(const torch::Tensor& hidden, const OutputHead& head,
                         std::span<const double> uniforms, int64_t chunk) {
  const torch::NoGradGuard no_grad;
  const int64_t n = hidden.size(0), vocab = head.weight.size(0);
  BITSMITH_CHECK(std::ssize(uniforms) == n);
  SampledLoss loss{torch::empty({n}, torch::kInt64), torch::empty_like(hidden)};
  auto* labels = loss.labels.data_ptr<int64_t>();
  for (int64_t first = 0; first < n; first += chunk) {
    const int64_t count = std::min(chunk, n - first);
    const torch::Tensor logits =
        head.logits(hidden.narrow(0, first, count)).to(torch::kFloat32).contiguous();
    torch::Tensor gradient = torch::softmax(logits, -1);  // softmax - one hot
    auto* rows = gradient.data_ptr<float>();
    parallel_tasks(count, [&](int64_t i) {
      const std::span row(rows + i * vocab, static_cast<size_t>(vocab));
      const int64_t label = draw(row, uniforms[static_cast<size_t>(first + i)]);
      labels[first + i] = label;
      row[static_cast<size_t>(label)] -= 1;
    });
    // The derivative of the cap: d (cap tanh(z / cap)) / dz.
    if (head.soft_cap > 0) gradient.mul_(1 - (logits / head.soft_cap).square());
    torch::Tensor out = loss.grad_hidden.narrow(0, first, count);
    at::matmul_out(out, gradient.to(hidden.scalar_type()), head.weight);
  }
  return loss;
}

std::vector<double> label_uniforms(uint64_t seed, int64_t first, int64_t count, int64_t length) {
  std::vector<double> uniforms;
  uniforms.reserve(static_cast<size_t>(count * length));
  for (int64_t window = first; window < first + count; ++window) {
    Random random(seed, static_cast<uint64_t>(window));
    for (int64_t i = 0; i < length; ++i) uniforms.push_back(random.uniform());
  }
  return uniforms;
}

}  // namespace bitsmith
