#include "compressor/representation/code_group_walk.h"

#include <algorithm>

#include "base/error.h"

namespace bitsmith {

CodeGroupWalk::CodeGroupWalk(CodeGroupSearch& search, int64_t out, int64_t in,
                             const torch::Tensor& codes, const torch::Tensor& code_groups,
                             Rows rows)
    : search_(search),
      out_(out),
      in_(in),
      g_(search.code_group_size()),
      per_row_(in_ / g_),
      num_codes_(search.num_codes()),
      // Some tasks for each of a few dozen threads, enough rows in each to use the tables well.
      rows_per_task_(rows == Rows::kInTurn
                         ? kRowsInTurn
                         : std::clamp<int64_t>(out_ / 24, 16, kMostCodeGroupsAtOnce)),
      tasks_((out_ + rows_per_task_ - 1) / rows_per_task_),
      code_groups_(code_groups.defined() ? code_groups.contiguous() : torch::Tensor()),
      result_(code_groups_.defined()
                  ? codes.index_select(0, code_groups_).to(torch::kInt)
                  : codes.to(torch::kInt, /*non_blocking=*/false, /*copy=*/true)),
      codes_(result_.mutable_data_ptr<int32_t>()),
      kernels_(kernels().search),
      slots_(std::clamp<int64_t>(kPanelInputs / g_, 1, per_row_)) {}

void CodeGroupWalk::prepare(int64_t slot, int64_t j) {
  std::vector<float> values(static_cast<size_t>(g_ * g_));
  sub_hessian(j, values.data());
  search_.prepare(slot, values.data());
}

// A task's code groups by code column, then row.
void CodeGroupWalk::list_entries(int64_t task) {
  auto& entries = entries_[static_cast<size_t>(task)];
  const int64_t first = task * rows_per_task_, last = std::min(out_, first + rows_per_task_);
  if (!code_groups_.defined()) {
    entries.reserve(static_cast<size_t>((last - first) * per_row_));
    for (int64_t j = 0; j < per_row_; ++j) {
      for (int64_t r = first; r < last; ++r) {
        entries.push_back({r * per_row_ + j, r * per_row_ + j});
      }
    }
    return;
  }
  const auto* listed = code_groups_.const_data_ptr<int64_t>();
  const auto* end = listed + code_groups_.size(0);
  const auto* from = std::lower_bound(listed, end, first * per_row_);
  const auto* to = std::lower_bound(from, end, last * per_row_);
  for (const auto* at = from; at != to; ++at) entries.push_back({*at, at - listed});
  std::stable_sort(entries.begin(), entries.end(),
                   [&](const Entry& a, const Entry& b) { return code_column(a) < code_column(b); });
}

auto CodeGroupWalk::entries_of(int64_t task, int64_t j) const
    -> std::pair<const Entry*, const Entry*> {
  const auto& entries = entries_[static_cast<size_t>(task)];
  const auto less = [&](const Entry& entry, int64_t c) { return code_column(entry) < c; };
  const auto from = std::lower_bound(entries.begin(), entries.end(), j, less);
  const auto to = std::lower_bound(from, entries.end(), j + 1, less);
  return {entries.data() + (from - entries.begin()), entries.data() + (to - entries.begin())};
}

void CodeGroupWalk::load(const Entry* from, int64_t count, Batch& batch) const {
  for (int64_t i = 0; i < count; ++i) {
    batch.code_groups[i] = from[i].code_group;
    std::copy_n(codes_ + from[i].position * num_codes_, num_codes_,
                batch.codes.begin() + i * num_codes_);
  }
}

void CodeGroupWalk::save(const Entry* from, int64_t count, const Batch& batch) {
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(batch.codes.begin() + i * num_codes_, num_codes_,
                codes_ + from[i].position * num_codes_);
  }
}

void CodeGroupWalk::add_products(const float* block, int64_t stride, int64_t count, const float* x,
                                 float* y) const {
  constexpr int64_t kWide = 16;  // a product of matrices is the faster one from here on
  if (g_ >= kWide && count > 1) {
    const auto matrix = [&](const float* data, int64_t rows, int64_t apart) {
      return torch::from_blob(const_cast<float*>(data), {rows, g_}, {apart, 1}, torch::kFloat);
    };
    // Of tensors: the rounding of a product hangs on how its memory is aligned.
    matrix(y, count, g_).add_(at::mm(matrix(x, count, g_).clone(), matrix(block, g_, stride)));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t b = 0; b < g_; ++b) {
      const float* row = block + b * stride;
      for (int64_t a = 0; a < g_; ++a) y[i * g_ + a] += row[a] * x[i * g_ + b];
    }
  }
}

torch::Tensor CodeGroupWalk::task_rows(const torch::Tensor& matrix, int64_t task) const {
  const int64_t first = task * rows_per_task_;
  return matrix.narrow(0, first, std::min(rows_per_task_, out_ - first));
}

void CodeGroupWalk::carry_beyond(int64_t panel_end, const torch::Tensor& moves,
                                 const torch::Tensor& matrix, const torch::Tensor& rows) const {
  if (panel_end == in_ || !moves.defined()) return;
  const int64_t width = moves.size(1), beyond = in_ - panel_end;
  const auto later = matrix.narrow(0, panel_end - width, width).narrow(1, panel_end, beyond);
  rows.narrow(1, panel_end, beyond).addmm_(moves, later, 1, -1);
}

}  // namespace bitsmith
