#include "compressor/train/v_step.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/name_table.h"

namespace bitsmith {
namespace {

constexpr NameTable<Sampling, 3> kSamplings = {"subspace",
                                               {{Sampling::kNorm, "norm"},
                                                {Sampling::kUniform, "uniform"},
                                                {Sampling::kProportional, "proportional"}}};

// Exponential waiting times at the rate of the weight: their order is that of weighted draws
// without replacement (Efraimidis and Spirakis 2006).
torch::Tensor waiting_times(const torch::Tensor& weights, Random& random) {
  const auto rates = weights.to(torch::kDouble).contiguous();
  auto times = torch::empty_like(rates);
  const auto* rate = rates.const_data_ptr<double>();
  auto* time = times.mutable_data_ptr<double>();
  for (int64_t i = 0; i < rates.numel(); ++i) {
    const double drawn = -std::log(1.0 - random.uniform());
    time[i] = rate[i] > 0 ? drawn / rate[i] : std::numeric_limits<double>::infinity();
  }
  return times;
}

}  // namespace

std::string option_text(Sampling sampling) { return kSamplings.name(sampling); }
void parse_option(const std::string& text, Sampling& sampling) {
  sampling = kSamplings.parse(text);
}

Random CodeDraws::at(int64_t step) const {
  Random of_matrix(seed, static_cast<uint64_t>(matrix));
  const uint64_t mixed = (uint64_t{of_matrix.next()} << 32) | of_matrix.next();
  Random of_step(mixed, static_cast<uint64_t>(step));
  const uint64_t start = (uint64_t{of_step.next()} << 32) | of_step.next();
  return Random(start, static_cast<uint64_t>(matrix));
}

torch::Tensor choose_subspace(const torch::Tensor& importance, int64_t count, Sampling sampling,
                              Random& random) {
  if (sampling == Sampling::kNorm) return std::get<1>(importance.topk(count, 0, true, true));
  const auto times = waiting_times(
      sampling == Sampling::kUniform ? torch::ones_like(importance) : importance.sqrt(), random);
  return std::get<1>(times.topk(count, 0, /*largest=*/false, /*sorted=*/true));
}

VStepResult v_step(CodedTerm& term, const torch::Tensor& update, double distance,
                   const SubspaceOptions& options, Random random) {
  const torch::NoGradGuard no_grad;
  const int64_t g = term.code_group_size(), code_groups = term.num_code_groups();
  const auto weights = static_cast<double>(update.numel());
  const auto updates = update.reshape({code_groups, g});
  const auto importance = updates.square().sum(1);
  const auto target = torch::empty(update.sizes(), update.options());  // where it is searched

  const int64_t chunk =
      std::max<int64_t>(1, static_cast<int64_t>(std::ceil(options.chunk * code_groups)));
  const int64_t searched = std::min(code_groups, chunk * options.max_chunks);
  const auto order = choose_subspace(importance, searched, options.sampling, random);

  std::vector<torch::Tensor> changed;
  bool any_kept = false, full = false;
  const double budget = weights * std::pow(options.trust_ratio * distance, 2);
  double used = 0;
  for (int64_t first = 0; first < searched && !full; first += chunk) {
    const auto in_order = order.narrow(0, first, std::min(chunk, searched - first));
    const auto [sorted, position] = in_order.sort();  // searches want ascending code groups
    const auto present = term.codes().index_select(0, sorted);
    const auto values = term.decode_code_groups(sorted, present);
    target.view({code_groups, g}).index_copy_(0, sorted, values + updates.index_select(0, sorted));
    const auto codes = term.search_codes(target, {}, sorted);
    const auto changes = (term.decode_code_groups(sorted, codes) - values).square().sum(1);
    // Rank of each sorted code group, so that the walk below goes in the order of the sampling.
    std::vector<int64_t> walk(static_cast<size_t>(sorted.numel())), kept;
    const auto* rank = position.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < sorted.numel(); ++i) walk[rank[i]] = i;
    const auto differs = (codes != present).any(1).contiguous();
    const auto* change = changes.const_data_ptr<float>();
    const auto* differ = differs.const_data_ptr<bool>();
    for (const int64_t i : walk) {
      if (!differ[i]) continue;
      if (used + change[i] > budget && any_kept) {
        full = true;
        break;
      }
      used += change[i];
      kept.push_back(i);
      any_kept = true;
    }
    std::sort(kept.begin(), kept.end());
    const auto keep = torch::tensor(kept, torch::kInt64);
    changed.push_back(sorted.index_select(0, keep));
    term.assign_codes(changed.back(), codes.index_select(0, keep));
  }
  return {torch::cat(changed), std::sqrt(used / weights)};
}

torch::Tensor assign_all_codes(CodedTerm& term, const torch::Tensor& codes) {
  const auto changed = (codes != term.codes()).any(1).nonzero().squeeze(1);
  term.assign_codes(changed, codes.index_select(0, changed));
  return changed;
}

}  // namespace bitsmith
