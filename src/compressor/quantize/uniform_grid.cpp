#include "compressor/quantize/uniform_grid.h"

#include <algorithm>

#include "compressor/representation/format_parts.h"

namespace bitsmith {
namespace {

struct Candidate {
  torch::Tensor scales, zeros;  // [n, 1]
};

// Clipping ranges worth trying: heavy clipping pays at few bits only.
std::vector<double> clipping_grid(int nbits) {
  const double lowest = nbits <= 2 ? 0.25 : nbits == 3 ? 0.4 : nbits == 4 ? 0.55 : 0.8;
  constexpr int kSteps = 24;
  std::vector<double> shares;
  for (int i = 0; i < kSteps; ++i) shares.push_back(lowest + (1 - lowest) * i / (kSteps - 1.0));
  return shares;
}

torch::Tensor codes_on(const torch::Tensor& groups, const Candidate& grid, int nbits) {
  const auto safe = torch::where(grid.scales == 0, torch::ones_like(grid.scales), grid.scales);
  return (groups / safe).add_(grid.zeros).round_().clamp_(0, (1 << nbits) - 1);
}

// Keeps, group by group, the better of `best` and `candidate` after one least-squares step on its
// scale: s = sum h w c / sum h c^2 with c = code - zero.
class Search {
 public:
  Search(const torch::Tensor& groups, const torch::Tensor& weights, int nbits)
      : groups_(groups), weights_(weights), nbits_(nbits) {}

  void offer(Candidate candidate) {
    candidate.scales = round_to_fp16(candidate.scales);
    keep(candidate);
    const auto levels = codes_on(groups_, candidate, nbits_).sub_(candidate.zeros);
    const auto power = weighted(levels * levels);
    const auto fit = weighted(groups_ * levels) / power.clamp_min(1e-30);
    candidate.scales = round_to_fp16(torch::where(power > 0, fit, candidate.scales));
    keep(candidate);
  }
  Candidate best;

 private:
  torch::Tensor weighted(const torch::Tensor& values) const {
    return (weights_.defined() ? values * weights_ : values).sum(1, /*keepdim=*/true);
  }
  void keep(const Candidate& candidate) {
    const auto levels = codes_on(groups_, candidate, nbits_).sub_(candidate.zeros);
    const auto error = weighted((groups_ - levels * candidate.scales).square_());
    if (!best.scales.defined()) {
      best = candidate;
      lowest_ = error;
      return;
    }
    const auto better = error < lowest_;
    best.scales = torch::where(better, candidate.scales, best.scales);
    best.zeros = torch::where(better, candidate.zeros, best.zeros);
    lowest_ = torch::where(better, error, lowest_);
  }

  torch::Tensor groups_, weights_, lowest_;
  int nbits_;
};

Candidate search_symmetric(const torch::Tensor& groups, const torch::Tensor& weights, int nbits) {
  Search search(groups, weights, nbits);
  const double half = 1 << (nbits - 1);
  const auto extreme = groups.abs().amax(1, /*keepdim=*/true);
  const auto zeros = torch::full_like(extreme, half);
  // The longer end holds `half` steps; its sign is the scale's.
  for (const double share : clipping_grid(nbits)) {
    for (const double steps : {-half, half}) search.offer({extreme * (share / steps), zeros});
  }
  return search.best;
}

Candidate search_with_zeros(const torch::Tensor& groups, const torch::Tensor& weights, int nbits) {
  Search search(groups, weights, nbits);
  const double largest = (1 << nbits) - 1;
  // The range holds zero, so that the zero point is a code.
  const auto low = groups.amin(1, /*keepdim=*/true).clamp_max(0);
  const auto high = groups.amax(1, /*keepdim=*/true).clamp_min(0);
  for (const double share : clipping_grid(nbits)) {
    const auto scales = (high - low) * (share / largest);
    const auto safe = torch::where(scales == 0, torch::ones_like(scales), scales);
    const auto centre = (low * -share / safe).round_();
    for (const int shift : {0, -1, 1}) {
      search.offer({scales, (centre + shift).clamp_(0, largest)});
    }
  }
  return search.best;
}

}  // namespace

UniformGrid best_uniform_grid(const torch::Tensor& groups, const torch::Tensor& weights,
                              const UniformSpec& spec) {
  const auto shape = groups.sizes().slice(0, groups.dim() - 1);
  const auto flat = groups.reshape({-1, groups.size(-1)});
  const auto importance =
      weights.defined() ? weights.expand_as(groups).reshape(flat.sizes()) : torch::Tensor();
  // Some thousands of groups at a time bound the temporaries.
  const int64_t at_once = std::max<int64_t>(1, (int64_t{1} << 20) / flat.size(1));
  std::vector<torch::Tensor> scales, zeros;
  for (int64_t begin = 0; begin < flat.size(0); begin += at_once) {
    const int64_t count = std::min(at_once, flat.size(0) - begin);
    const auto some = flat.narrow(0, begin, count);
    const auto some_weights =
        importance.defined() ? importance.narrow(0, begin, count) : importance;
    const auto best = spec.zero_points ? search_with_zeros(some, some_weights, spec.nbits)
                                       : search_symmetric(some, some_weights, spec.nbits);
    scales.push_back(best.scales);
    zeros.push_back(best.zeros);
  }
  return {torch::cat(scales).reshape(shape), torch::cat(zeros).reshape(shape).to(torch::kInt)};
}

torch::Tensor uniform_codes(const torch::Tensor& groups, const UniformGrid& grid, int nbits) {
  return codes_on(groups, {grid.scales.unsqueeze(-1), grid.zeros.unsqueeze(-1)}, nbits)
      .to(torch::kInt);
}

}  // namespace bitsmith
