// The walk over code groups that coordinate descent and error feedback share: panels of code
// columns one after another, and in each of them tasks of rows side by side.
#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "compressor/parallel.h"
#include "compressor/representation/code_group_search.h"
#include "kernels/kernel_table.h"

namespace bitsmith {

// Code groups that a search gets at once, at most.
constexpr int64_t kMostCodeGroupsAtOnce = 64;

// Of a matrix [out, in]. `codes` [num_code_groups, M]: the present ones; `code_groups`: see
// CodedTerm::search_codes().
class CodeGroupWalk {
 protected:
  // In turn: tasks are of kRowsInTurn rows, and come one after another.
  enum class Rows { kSideBySide, kInTurn };

  CodeGroupWalk(CodeGroupSearch& search, int64_t out, int64_t in, const torch::Tensor& codes,
                const torch::Tensor& code_groups, Rows rows = Rows::kSideBySide);
  ~CodeGroupWalk() = default;
  CodeGroupWalk(const CodeGroupWalk&) = delete;

  // That of code column j: values [g, g], zeros before. Thread-safe.
  virtual void sub_hessian(int64_t j, float* values) const = 0;

  struct Entry {
    int64_t code_group;  // flat index
    int64_t position;    // row of the result
  };
  // What a task needs for the entries of one column.
  struct Batch {
    Batch(int64_t rows, int64_t g, int64_t num_codes)
        : code_groups(rows),
          codes(rows * num_codes),
          own(rows * g),
          linear(rows * g),
          before(rows * g),
          after(rows * g) {}
    std::vector<int64_t> code_groups;
    std::vector<int32_t> codes;
    std::vector<float> own, linear, before, after;
  };

  // f(begin, end) for panels of code columns whose tables are prepared: column j in slot j - begin.
  template <typename F>
  void each_panel(const F& f) {
    search_.reserve_slots(slots_);
    entries_.resize(static_cast<size_t>(tasks_));
    parallel_tasks(tasks_, [&](int64_t task) { list_entries(task); });
    for (int64_t begin = 0; begin < per_row_; begin += slots_) {
      const int64_t end = std::min(begin + slots_, per_row_);
      parallel_tasks(end - begin, [&](int64_t slot) { prepare(slot, begin + slot); });
      f(begin, end);
    }
  }
  // f(task, begin, end) for the tasks of these panels.
  template <typename F>
  void each_task(const F& f) {
    each_panel([&](int64_t begin, int64_t end) {
      parallel_tasks(tasks_, [&](int64_t task) { f(task, begin, end); });
    });
  }

  // One task's share of a panel, code column by code column: codes for what `linear_of` asks, and
  // what `move_of` makes of them taken from the columns after it: rows -= moves * matrix. `rows` is
  // the task's part of `state` [out, in]; the columns beyond the panel are left to the caller.
  // Returns the moves [rows, width], undefined where there are none.
  // linear_of(j, count, batch): the linear terms of the search, from the code groups' own part of
  // the rows and their present values. move_of(j, own, before, after, move), of one code group:
  // whether there is a move.
  template <typename LinearOf, typename MoveOf>
  torch::Tensor search_panel(int64_t task, int64_t begin, int64_t end, const torch::Tensor& state,
                             const torch::Tensor& matrix, const LinearOf& linear_of,
                             const MoveOf& move_of) {
    Batch batch(rows_per_task_, g_, num_codes_);
    const int64_t first_row = task * rows_per_task_, panel_end = end * g_;
    const int64_t width = panel_end - begin * g_;
    const auto rows = task_rows(state, task);
    auto* row_data = rows.mutable_data_ptr<float>();
    auto moves = torch::zeros({rows.size(0), width}, torch::kFloat);
    auto* move_data = moves.mutable_data_ptr<float>();
    bool moved = false;
    for (int64_t j = begin; j < end; ++j) {
      const auto [from, to] = entries_of(task, j);
      const int64_t count = to - from, next = (j + 1) * g_;
      if (count == 0) continue;
      load(from, count, batch);
      search_.decode(count, batch.code_groups.data(), batch.codes.data(), batch.before.data());
      for (int64_t i = 0; i < count; ++i) {
        const int64_t row = from[i].code_group / per_row_ - first_row;
        std::copy_n(row_data + row * in_ + j * g_, g_, batch.own.begin() + i * g_);
      }
      linear_of(j, count, batch);
      search_.search(j - begin, count, batch.code_groups.data(), batch.linear.data(),
                     batch.codes.data());
      search_.decode(count, batch.code_groups.data(), batch.codes.data(), batch.after.data());
      save(from, count, batch);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t row = from[i].code_group / per_row_ - first_row;
        float* move = move_data + row * width + (j - begin) * g_;
        if (!move_of(j, row_data + row * in_ + j * g_, batch.before.data() + i * g_,
                     batch.after.data() + i * g_, move)) {
          continue;
        }
        moved = true;
        kernels_.subtract_product(move, matrix.const_data_ptr<float>() + j * g_ * in_ + next, g_,
                                  in_, panel_end - next, row_data + row * in_ + next);
      }
    }
    return moved ? moves : torch::Tensor();
  }
  // What a panel's `moves` [rows, width] do to the columns from panel_end on:
  // rows -= moves * matrix[the panel's inputs, those columns].
  void carry_beyond(int64_t panel_end, const torch::Tensor& moves, const torch::Tensor& matrix,
                    const torch::Tensor& rows) const;
  torch::Tensor task_rows(const torch::Tensor& matrix, int64_t task) const;

  // The task's entries of column j, at most rows_per_task_.
  std::pair<const Entry*, const Entry*> entries_of(int64_t task, int64_t j) const;
  void load(const Entry* from, int64_t count, Batch& batch) const;
  void save(const Entry* from, int64_t count, const Batch& batch);

  // y [g] += block [g, g], symmetric, whose rows are `stride` apart, times x [g]; each of `count`,
  // one after another in memory.
  void add_products(const float* block, int64_t stride, int64_t count, const float* x,
                    float* y) const;

  CodeGroupSearch& search_;
  int64_t out_, in_, g_, per_row_, num_codes_, rows_per_task_, tasks_;
  torch::Tensor code_groups_, result_;
  int32_t* codes_;  // of the result

 private:
  void prepare(int64_t slot, int64_t j);
  void list_entries(int64_t task);
  int64_t code_column(const Entry& entry) const { return entry.code_group % per_row_; }

  const SearchKernels& kernels_;
  int64_t slots_;
  std::vector<std::vector<Entry>> entries_;  // of each task
};

}  // namespace bitsmith
