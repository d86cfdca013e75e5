// Coordinate descent over code groups, and its cousin with error feedback: what
// code_group_search.h promises. code_group_search.cpp treats rows apart, coupled_rows.cpp rows that
// meet.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "compressor/parallel.h"
#include "compressor/representation/code_group_entries.h"
#include "compressor/representation/code_group_search.h"
#include "kernels/kernel_table.h"

namespace bitsmith {

class Descent {
 public:
  using Entry = CodeGroupEntries::Entry;

  Descent(CodeGroupSearch& search, const torch::Tensor& weight, const torch::Tensor& codes,
          const torch::Tensor& target, const Objective& objective,
          const torch::Tensor& code_groups);
  torch::Tensor run();
  torch::Tensor run_with_feedback(const torch::Tensor& factor);

 private:
  // f(begin, end) for panels of code columns whose tables are prepared.
  template <typename F>
  void each_panel_of_slots(const F& f) {
    search_.reserve_slots(slots_);
    parallel_tasks(entries_.tasks(), [&](int64_t task) { entries_.list(task); });
    for (int64_t begin = 0; begin < per_row_; begin += slots_) {
      const int64_t end = std::min(begin + slots_, per_row_);
      parallel_tasks(end - begin, [&](int64_t slot) { prepare_slot(slot, begin + slot); });
      f(begin, end);
    }
  }
  template <typename PanelTask>
  void each_panel(const PanelTask& panel_task) {
    each_panel_of_slots([&](int64_t begin, int64_t end) {
      parallel_tasks(entries_.tasks(), [&](int64_t task) { panel_task(task, begin, end); });
    });
  }

  const float* target_of(int64_t code_group) const {
    return target_.const_data_ptr<float>() + code_group * g_;
  }

  void prepare_slot(int64_t slot, int64_t j);
  void search_in_identity();

  // What a task needs for the entries of one column.
  struct Batch {
    explicit Batch(int64_t rows, int64_t g, int64_t num_codes)
        : code_groups(rows),
          codes(rows * num_codes),
          linear(rows * g),
          before(rows * g),
          after(rows * g) {}
    std::vector<int64_t> code_groups;
    std::vector<int32_t> codes;
    std::vector<float> linear, before, after;
  };

  void load(const Entry* from, int64_t count, Batch& batch) const;
  void save(const Entry* from, int64_t count, const Batch& batch);

  void search_in_diagonal(int64_t task, int64_t begin, int64_t end);

  // gradient = (target - weight) H, half the slope of the objective with its sign turned; where
  // rows meet times G over its diagonal.
  void start_gradient();
  torch::Tensor task_rows(const torch::Tensor& matrix, int64_t task) const {
    return matrix.narrow(0, entries_.first_row(task), entries_.rows(task));
  }
  const float* hessian_row(int64_t input) const {
    return hessian_.const_data_ptr<float>() + input * in_;
  }

  // y [g] += sub_hessian [g, g], whose rows are `stride` apart, times x [g].
  void add_product(const float* sub_hessian, int64_t stride, const float* x, float* y) const {
    for (int64_t a = 0; a < g_; ++a) {
      float sum = y[a];
      for (int64_t b = 0; b < g_; ++b) sum += sub_hessian[a * stride + b] * x[b];
      y[a] = sum;
    }
  }
  // What a panel's `moves` [rows, width] do to the columns from panel_end on:
  // rows -= moves * matrix[the panel's inputs, those columns].
  void carry_beyond(int64_t panel_end, const torch::Tensor& moves, const torch::Tensor& matrix,
                    const torch::Tensor& rows) const;

  // One task's share of a panel, code column by code column: codes for what `linear_of` asks,
  // and what `move_of` makes of them taken from the columns after it: rows -= moves * matrix.
  // `rows` is the task's part of gradient_; the columns beyond the panel are left to the caller.
  // Returns the moves [rows, width], undefined where there are none.
  // linear_of(j, own, before, linear): the linear term [g] of the search, from the code group's
  // part of the rows and its present values. move_of(j, own, before, after, move): whether there is
  // a move.
  template <typename LinearOf, typename MoveOf>
  torch::Tensor sweep(int64_t task, int64_t begin, int64_t end, const torch::Tensor& matrix,
                      const LinearOf& linear_of, const MoveOf& move_of);

  // Coordinate descent: the rows hold the gradient.
  void descend(int64_t task, int64_t begin, int64_t end);

  // Coordinate descent where rows meet, task after task. The rows hold the gradient over their own
  // entry of G, so that the search of a row is that without G. What moves changes the gradient of
  // the task's own rows in the panel at once, of the rows after them when the task is done, of what
  // lies beyond the panel at its end.
  void descend_coupled(int64_t begin, int64_t end);
  // A task's rows in code column j: all are searched at the same time, as if the others stayed.
  // Then each takes its turn, and is searched anew where what was found no longer lowers the cost.
  // `moves` are those of the panel, `hessian` [width, width] is the panel's. Returns whether any
  // moved.
  bool descend_in_turn(int64_t task, int64_t j, int64_t begin, const torch::Tensor& hessian,
                       const torch::Tensor& moves);

  // The rows hold the weights as they should be after the errors of the code groups before; the
  // moves are errors over the factor's diagonal block.
  void feed_back(int64_t task, int64_t begin, int64_t end);

  CodeGroupSearch& search_;
  const SearchKernels& kernels_;
  int64_t out_, in_, g_, per_row_, num_codes_, slots_;
  torch::Tensor target_, weight_, hessian_, diagonal_, code_groups_;
  torch::Tensor coupling_;  // [out, out]: G over its diagonal, row by row; undefined: rows apart
  torch::Tensor gradient_;  // [out, in] (target - weight) H; with feedback: the weights wanted
  torch::Tensor factor_;    // with feedback: U, H^-1 = U^T U
  torch::Tensor inverse_, sub_hessians_;  // [per_row, g, g]: U_jj^-1 and U_jj^-1 U_jj^-T
  torch::Tensor result_;
  int32_t* codes_;
  int64_t rows_per_task_;
  CodeGroupEntries entries_;
};

}  // namespace bitsmith
