// Which code groups a search visits, divided into tasks of neighboring rows.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "compressor/torch.h"

namespace bitsmith {

class CodeGroupEntries {
 public:
  struct Entry {
    int64_t code_group;  // flat index
    int64_t position;    // row of the result
  };

  // Of `out` rows of `per_row` code groups those in code_groups [n] int64, ascending; undefined:
  // all.
  CodeGroupEntries(int64_t out, int64_t per_row, int64_t rows_per_task, torch::Tensor code_groups);

  int64_t tasks() const { return static_cast<int64_t>(entries_.size()); }
  int64_t first_row(int64_t task) const { return task * rows_per_task_; }
  int64_t rows(int64_t task) const;
  // Once a task, before at(); tasks at the same time.
  void list(int64_t task);
  // The task's entries in a code column, by rising rows.
  std::pair<const Entry*, const Entry*> at(int64_t task, int64_t code_column) const;

 private:
  int64_t out_, per_row_, rows_per_task_;
  torch::Tensor code_groups_;
  std::vector<std::vector<Entry>> entries_;  // of each task by code column, then row
};

}  // namespace bitsmith
