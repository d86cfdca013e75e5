#include "compressor/representation/code_group_entries.h"

#include <algorithm>

namespace bitsmith {

CodeGroupEntries::CodeGroupEntries(int64_t out, int64_t per_row, int64_t rows_per_task,
                                   torch::Tensor code_groups)
    : out_(out),
      per_row_(per_row),
      rows_per_task_(rows_per_task),
      code_groups_(code_groups.defined() ? code_groups.contiguous() : torch::Tensor()),
      entries_(static_cast<size_t>((out + rows_per_task - 1) / rows_per_task)) {}

int64_t CodeGroupEntries::rows(int64_t task) const {
  return std::min(rows_per_task_, out_ - first_row(task));
}

void CodeGroupEntries::list(int64_t task) {
  auto& entries = entries_[static_cast<size_t>(task)];
  const int64_t first = first_row(task), last = first + rows(task);
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
  std::stable_sort(entries.begin(), entries.end(), [&](const Entry& a, const Entry& b) {
    return a.code_group % per_row_ < b.code_group % per_row_;
  });
}

std::pair<const CodeGroupEntries::Entry*, const CodeGroupEntries::Entry*> CodeGroupEntries::at(
    int64_t task, int64_t code_column) const {
  const auto& entries = entries_[static_cast<size_t>(task)];
  const auto less = [&](const Entry& entry, int64_t c) { return entry.code_group % per_row_ < c; };
  const auto from = std::lower_bound(entries.begin(), entries.end(), code_column, less);
  const auto to = std::lower_bound(from, entries.end(), code_column + 1, less);
  return {entries.data() + (from - entries.begin()), entries.data() + (to - entries.begin())};
}

}  // namespace bitsmith
