#include <algorithm>
#include <limits>
#include <vector>

#include "base/error.h"
#include "compressor/quantize/corrections.h"
#include "compressor/representation/kinds/rows.h"

namespace bitsmith {
namespace {

// `asked` first, then those whose error in the residual costs most; [count] ascending.
torch::Tensor choose_rows(int64_t count, const torch::Tensor& residual, const Objective& objective,
                          const std::vector<int64_t>& asked) {
  const auto own = std::min<int64_t>(count, std::ssize(asked));
  auto rows = torch::tensor(std::vector<int64_t>(asked.begin(), asked.begin() + own), torch::kLong);
  if (own < count) {
    auto costs = objective.row_errors(residual, /*exact=*/false);
    costs.index_fill_(0, rows, -std::numeric_limits<double>::infinity());  // taken
    rows = torch::cat({rows, std::get<1>(costs.topk(count - own))});
  }
  return std::get<0>(rows.sort()).contiguous();
}

}  // namespace

FittedCorrection fit_correction(const RowsSpec& spec, const torch::Tensor& weight,
                                const torch::Tensor& residual, const Objective& objective,
                                const QuantizeOptions& options) {
  const RowsSpec exact = spec.resolved(weight.size(0), weight.size(1), "");
  const auto rows = choose_rows(exact.count, residual, objective, options.kept_rows);
  auto term = std::make_unique<RowsTerm>(rows, residual.index_select(0, rows), weight.size(0));
  term->project();
  return {std::move(term),
          torch::zeros_like(weight).index_put({rows}, weight.index_select(0, rows))};
}

}  // namespace bitsmith
