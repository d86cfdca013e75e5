#include "compressor/representation/kinds/code_search_reference.h"

#include <algorithm>
#include <limits>

#include "compressor/representation/code_group_search.h"
#include "compressor/representation/code_pairs.h"
#include "compressor/representation/kinds/e8p.h"
#include "compressor/representation/kinds/gvq_dequantize.h"

namespace bitsmith {
namespace {

using torch::indexing::Slice;

// Best codes of codebooks first and second (equal: one alone), all others fixed.
// costs of codebook m's centroids: v_m[k] = c^T B c - 2 linear . c
torch::Tensor search_pair(const torch::Tensor& codebooks, CodePair pair,
                          const torch::Tensor& linear, const torch::Tensor& sub_hessian,
                          const torch::Tensor& present) {
  const auto& first = codebooks[pair.first];
  const auto& second = codebooks[pair.second];
  const auto own = [&](const torch::Tensor& book) {
    return (torch::matmul(book, sub_hessian) * book).sum(1) - 2 * torch::matmul(linear, book.t());
  };
  auto codes = present.clone();
  const auto costs = own(first);
  if (pair.first == pair.second) {
    const auto [lowest, best] = costs.min(1, /*keepdim=*/true);
    const auto old = codes.index({Slice(), Slice(pair.first, pair.first + 1)}).to(torch::kLong);
    const auto better = lowest < costs.gather(1, old);
    codes.select(1, pair.first).copy_(torch::where(better, best, old).squeeze(1));
    return codes;
  }
  const int64_t num_centroids = second.size(0);
  const auto cross = 2 * torch::matmul(torch::matmul(first, sub_hessian), second.t());
  const auto pairs =
      (costs.unsqueeze(2) + own(second).unsqueeze(1) + cross).reshape({linear.size(0), -1});
  const auto [lowest, best] = pairs.min(1, /*keepdim=*/true);
  const auto wide = codes.to(torch::kLong);
  const auto old =
      (wide.select(1, pair.first) * num_centroids + wide.select(1, pair.second)).unsqueeze(1);
  const auto chosen = torch::where(lowest < pairs.gather(1, old), best, old).squeeze(1);
  codes.select(1, pair.first).copy_(chosen.floor_divide(num_centroids));
  codes.select(1, pair.second).copy_(chosen.remainder(num_centroids));
  return codes;
}

// `search` for at most `at_once` code groups at a time.
CodeGroupSearchReference in_chunks(int64_t at_once, const CodeGroupSearchReference& search) {
  return [=](const torch::Tensor& flat, const torch::Tensor& linear,
             const torch::Tensor& sub_hessian, const torch::Tensor& present) {
    std::vector<torch::Tensor> parts;
    for (int64_t begin = 0; begin < flat.size(0); begin += at_once) {
      const Slice some(begin, begin + at_once);
      parts.push_back(
          search(flat.index({some}), linear.index({some}), sub_hessian, present.index({some})));
    }
    return torch::cat(parts);
  };
}

}  // namespace

torch::Tensor search_codes_reference(const CodedTerm& term, const torch::Tensor& target,
                                     const Objective& objective, const torch::Tensor& code_groups,
                                     const CodeGroupSearchReference& search) {
  const torch::NoGradGuard no_grad;
  const int64_t g = term.code_group_size(), per_row = term.in_features() / g;
  const auto listed =
      code_groups.defined()
          ? code_groups
          : torch::arange(term.num_code_groups(), term.codes().options().dtype(torch::kLong));
  auto result = term.codes().index_select(0, listed).to(torch::kInt);
  if (listed.numel() == 0) return result;
  const auto wanted = objective.target(target);
  const auto columns = listed.remainder(per_row), rows = listed.floor_divide(per_row);
  const auto sub_hessians = objective.sub_hessians(term.in_features(), g).to(target.device());
  torch::Tensor hessian, coupling, gradient;  // coupling: G over its diagonal, row by row
  if (!objective.separable()) {
    hessian = objective.dense_hessian(term.in_features()).to(target.device());
    gradient = torch::matmul(wanted - term.dequantize(), hessian);
  }
  if (objective.joins_rows()) {
    const auto own = objective.row_weights().unsqueeze(1);
    coupling = torch::where(own > 0, objective.output_factor / own, torch::zeros_like(own));
    gradient = torch::matmul(coupling, gradient);
  }
  const auto visit = [&](int64_t j, const torch::Tensor& at) {
    if (at.numel() == 0) return;
    const auto flat = listed.index_select(0, at), own_rows = rows.index_select(0, at);
    const Slice inputs(j * g, (j + 1) * g);
    const auto present = result.index_select(0, at), sub_hessian = sub_hessians[j];
    if (objective.separable()) {
      const auto linear =
          torch::matmul(wanted.index({Slice(), inputs}).index_select(0, own_rows), sub_hessian);
      result.index_copy_(0, at, search(flat, linear, sub_hessian, present));
      return;
    }
    const auto old_values = term.decode_code_groups(flat, present);
    const auto undone = torch::matmul(old_values, sub_hessian);
    const auto gradient_here = gradient.index({Slice(), inputs});  // a view
    const auto codes =
        search(flat, gradient_here.index_select(0, own_rows) + undone, sub_hessian, present);
    if (!coupling.defined()) {
      result.index_copy_(0, at, codes);
      const auto change =
          torch::matmul(term.decode_code_groups(flat, codes) - old_values, hessian.index({inputs}));
      gradient.index_add_(0, own_rows, change, -1);
      return;
    }
    for (int64_t i = 0; i < at.numel(); ++i) {
      const int64_t row = own_rows[i].item<int64_t>();
      if (!(coupling[row][row].item<float>() > 0)) continue;
      const auto here = [i](const torch::Tensor& all) { return all.narrow(0, i, 1); };
      auto own = here(codes);
      auto move = term.decode_code_groups(here(flat), own) - here(old_values);
      if (!move.any().item<bool>()) continue;
      const auto slope = gradient_here.narrow(0, row, 1);
      if ((move * (torch::matmul(move, sub_hessian) - 2 * slope)).sum().item<float>() >= 0) {
        own = search(here(flat), slope + here(undone), sub_hessian, here(present));
        move = term.decode_code_groups(here(flat), own) - here(old_values);
      }
      if (!move.any().item<bool>()) continue;
      result.index_copy_(0, here(at), own);
      gradient.sub_(
          torch::matmul(coupling.narrow(1, row, 1), torch::matmul(move, hessian.index({inputs}))));
    }
  };
  // Rows that meet take turns, as in search_code_groups().
  const int64_t slots = std::clamp<int64_t>(kPanelInputs / g, 1, per_row);
  const int64_t out = term.out_features(), rows_at_once = coupling.defined() ? kRowsInTurn : out;
  for (int64_t begin = 0; begin < per_row; begin += slots) {
    for (int64_t row = 0; row < out; row += rows_at_once) {
      const auto among = (rows >= row) & (rows < row + rows_at_once);
      for (int64_t j = begin; j < std::min(begin + slots, per_row); ++j)
        visit(j, ((columns == j) & among).nonzero().squeeze(1));
    }
  }
  return result;
}

torch::Tensor search_neighbors_reference(const CodedTerm& term, int64_t codebook_size,
                                         const torch::Tensor& target, const torch::Tensor& codes,
                                         const torch::Tensor& code_groups) {
  const torch::NoGradGuard no_grad;
  const auto listed = code_groups.defined() ? code_groups
                                            : torch::arange(term.num_code_groups(),
                                                            codes.options().dtype(torch::kLong));
  const auto wanted = target.reshape({term.num_code_groups(), -1}).index_select(0, listed);
  auto result = codes.clone();
  auto lowest = torch::full({listed.numel()}, std::numeric_limits<float>::infinity(),
                            target.options().dtype(torch::kFloat));
  auto differs = torch::zeros({listed.numel()}, codes.options().dtype(torch::kBool));
  const auto values = term.decode_code_groups(listed, codes);
  for (int64_t place = 0; place < codes.size(1); ++place) {
    for (int64_t code = 0; code < codebook_size; ++code) {
      auto tried = codes.clone();
      tried.select(1, place).fill_(code);
      const auto given = term.decode_code_groups(listed, tried);
      const auto cost = (given - wanted).square().sum(1);
      const auto better = (codes.select(1, place) != code) & (cost < lowest);
      lowest = torch::where(better, cost, lowest);
      result = torch::where(better.unsqueeze(1), tried, result);
      differs.logical_or_((given != values).any(1));
    }
  }
  return torch::where(differs.unsqueeze(1), result, codes);
}

torch::Tensor search_uniform_reference(const CodedTerm& term, int nbits,
                                       const torch::Tensor& scales, const torch::Tensor& zeros,
                                       const torch::Tensor& target, const Objective& objective,
                                       const torch::Tensor& code_groups) {
  const int64_t size = term.in_features() / scales.size(1);
  const auto search = [&](const torch::Tensor& flat, const torch::Tensor& linear,
                          const torch::Tensor& sub_hessian, const torch::Tensor& present) {
    const auto at = flat.floor_divide(size);
    const auto scale = scales.reshape(-1).index_select(0, at).unsqueeze(1);
    const auto zero = zeros.reshape(-1).index_select(0, at).unsqueeze(1);
    const auto codes = (linear / sub_hessian / scale + zero).round().clamp(0, (1 << nbits) - 1);
    // A dead input or a zero scale: every code is as good.
    return torch::where((sub_hessian > 0) & (scale != 0), codes, present).to(torch::kInt);
  };
  return search_codes_reference(term, target, objective, code_groups, search);
}

torch::Tensor search_additive_reference(const CodedTerm& term, const torch::Tensor& codebooks,
                                        const torch::Tensor& scales, const torch::Tensor& target,
                                        const Objective& objective,
                                        const torch::Tensor& code_groups) {
  const int64_t per_row = term.in_features() / codebooks.size(2);
  const auto pairs = code_pairs(codebooks.size(0), codebooks.size(1));
  const bool joint = pairs[0].first != pairs[0].second;
  const int64_t costs_per_group = joint ? codebooks.size(1) * codebooks.size(1) : codebooks.size(1);
  const int64_t at_once = std::max<int64_t>(1, (int64_t{1} << 24) / costs_per_group);
  const auto search_some = [&](const torch::Tensor& flat, const torch::Tensor& linear,
                               const torch::Tensor& sub_hessian, const torch::Tensor& present) {
    const auto scale = scales.dim() == 1
                           ? scales.index_select(0, flat.floor_divide(per_row)).unsqueeze(1)
                           : scales.reshape({-1, 1}).index_select(0, flat);
    auto codes = present;
    for (const CodePair& pair : pairs) {
      // In units of the scale; what the other codebooks leave.
      auto rest = linear / scale;
      for (int64_t m = 0; m < codebooks.size(0); ++m) {
        if (m == pair.first || m == pair.second) continue;
        rest = rest - torch::matmul(codebooks[m].index_select(0, codes.select(1, m)), sub_hessian);
      }
      codes = search_pair(codebooks, pair, rest, sub_hessian, codes);
    }
    return torch::where(scale != 0, codes, present);
  };
  return search_codes_reference(term, target, objective, code_groups,
                                in_chunks(at_once, search_some));
}

torch::Tensor search_gvq_reference(const CodedTerm& term, const GvqLayout& layout,
                                   const torch::Tensor& centroids,
                                   const torch::Tensor& block_scales, const torch::Tensor& target,
                                   const Objective& objective, const torch::Tensor& code_groups) {
  const auto tiles = centroids.reshape({-1, centroids.size(2), layout.vector_size});
  const auto search = [&](const torch::Tensor& flat, const torch::Tensor& linear,
                          const torch::Tensor& sub_hessian, const torch::Tensor& present) {
    auto scaled = linear;
    if (block_scales.defined()) {
      const int64_t code_groups_per_scale = term.num_code_groups() / block_scales.numel();
      const auto at = flat.floor_divide(code_groups_per_scale);
      scaled = linear / block_scales.reshape(-1).index_select(0, at).unsqueeze(1);
    }
    const auto own = tiles.index_select(0, tile_of_code_groups(layout, flat));  // [n, K, D]
    const auto costs = (torch::matmul(own, sub_hessian) * own).sum(2) -
                       2 * torch::matmul(own, scaled.unsqueeze(2)).squeeze(2);
    const auto [lowest, best] = costs.min(1, /*keepdim=*/true);
    const auto old = present.to(torch::kLong);
    return torch::where(lowest < costs.gather(1, old), best, old).to(torch::kInt);
  };
  return search_codes_reference(term, target, objective, code_groups, search);
}

torch::Tensor search_e8p_reference(const CodedTerm& term, const E8pSpec& spec,
                                   const torch::Tensor& scales, const torch::Tensor& target,
                                   const Objective& objective, const torch::Tensor& code_groups) {
  constexpr int64_t kAtOnce = 256;  // times 2^16 costs
  const int64_t per_row = term.in_features() / kE8Size, last = spec.stages() - 1;
  std::vector<torch::Tensor> points;
  for (int stage = 0; stage <= last; ++stage) {
    points.push_back(e8p_stage_points(spec, stage, scales.device()));
  }
  const auto search_some = [&](const torch::Tensor& flat, const torch::Tensor& linear,
                               const torch::Tensor& sub_hessian, const torch::Tensor& present) {
    const auto own = scales.index_select(0, flat.floor_divide(per_row));
    const auto scale = [&](int64_t stage) { return own.select(1, stage).unsqueeze(1); };
    const auto cost = [&](const torch::Tensor& codes) {
      const auto p = e8p_decode(spec, own, codes);
      return ((torch::matmul(p, sub_hessian) - 2 * linear) * p).sum(1, /*keepdim=*/true);
    };
    // The best codes of a stage, if the others give `rest` less of the linear term.
    const auto improve = [&](torch::Tensor codes, int64_t stage, const torch::Tensor& rest) {
      const auto scaled = rest / scale(stage);
      const auto costs = (torch::matmul(points[stage], sub_hessian) * points[stage]).sum(1) -
                         2 * torch::matmul(scaled, points[stage].t());
      const auto best = costs.argmin(1).to(torch::kInt);
      const auto old = codes.select(1, stage).clone();
      codes.select(1, stage).copy_(torch::where(scale(stage).squeeze(1) != 0, best, old));
    };
    const auto left_by = [&](const torch::Tensor& codes, int64_t stage) {
      const auto values = points[stage].index_select(0, codes.select(1, stage)) * scale(stage);
      return linear - torch::matmul(values, sub_hessian);
    };
    auto from_nothing = present.clone();
    improve(from_nothing, 0, linear);
    if (last == 0) return torch::where(cost(from_nothing) < cost(present), from_nothing, present);
    improve(from_nothing, 1, left_by(from_nothing, 0));
    const auto descend = [&](torch::Tensor from) {
      for (;;) {
        auto trial = from.clone();
        improve(trial, 0, left_by(trial, 1));
        improve(trial, 1, left_by(trial, 0));
        const auto better = cost(trial) < cost(from);
        if (!better.any().item<bool>()) return from;
        from = torch::where(better, trial, from);
      }
    };
    const auto best = descend(present), other = descend(from_nothing);
    return torch::where(cost(other) < cost(best), other, best);
  };
  return search_codes_reference(term, target, objective, code_groups,
                                in_chunks(kAtOnce, search_some));
}

torch::Tensor search_e8p_neighbors_reference(const CodedTerm& term, const E8pSpec& spec,
                                             const torch::Tensor& scales,
                                             const torch::Tensor& target,
                                             const torch::Tensor& codes,
                                             const torch::Tensor& code_groups) {
  const torch::NoGradGuard no_grad;
  constexpr int64_t kAtOnce = 256;  // times 2^16 costs
  const double infinity = std::numeric_limits<double>::infinity();
  const auto listed = code_groups.defined() ? code_groups
                                            : torch::arange(term.num_code_groups(),
                                                            codes.options().dtype(torch::kLong));
  const auto wanted = target.reshape({-1, kE8Size}).index_select(0, listed);
  const auto own = scales.index_select(0, listed.floor_divide(term.in_features() / kE8Size));
  auto result = codes.clone();
  for (int64_t begin = 0; begin < listed.size(0); begin += kAtOnce) {
    const int64_t count = std::min(kAtOnce, listed.size(0) - begin);
    const auto present = codes.narrow(0, begin, count);
    auto best = present;
    auto lowest = torch::full({count}, infinity, wanted.options());
    for (int stage = 0; stage < spec.stages(); ++stage) {
      const auto points = e8p_stage_points(spec, stage, codes.device());
      auto rest = wanted.narrow(0, begin, count);
      if (spec.stages() == 2) {
        const int other = 1 - stage;
        rest = rest - e8p_stage_points(spec, other, codes.device())
                              .index_select(0, present.select(1, other)) *
                          own.narrow(0, begin, count).select(1, other).unsqueeze(1);
      }
      const auto scale = own.narrow(0, begin, count).select(1, stage).unsqueeze(1);
      auto costs = rest.square().sum(1, /*keepdim=*/true) -
                   2 * scale * torch::matmul(rest, points.t()) +
                   scale.square() * points.square().sum(1);
      costs.scatter_(1, present.select(1, stage).to(torch::kLong).unsqueeze(1), infinity);
      const auto [cost, code] = costs.min(1);
      auto trial = present.clone();
      trial.select(1, stage).copy_(code);
      const auto better = (scale.squeeze(1) != 0) & (cost < lowest);
      lowest = torch::where(better, cost, lowest);
      best = torch::where(better.unsqueeze(1), trial, best);
    }
    result.narrow(0, begin, count).copy_(best);
  }
  return result;
}

}  // namespace bitsmith
