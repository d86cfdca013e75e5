#include "compressor/representation/code_group_search.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "compressor/objective/row_products.h"
#include "compressor/parallel.h"
#include "kernels/kernel_table.h"

namespace bitsmith {
namespace {

constexpr int64_t kMostCodeGroupsAtOnce = 64;
constexpr int64_t kRowsInTurn = 32;  // where rows meet

struct Entry {
  int64_t code_group;  // flat index
  int64_t position;    // row of the result
};

class Descent {
 public:
  Descent(CodeGroupSearch& search, const torch::Tensor& weight, const torch::Tensor& codes,
          const torch::Tensor& target, const Objective& objective, const torch::Tensor& code_groups)
      : search_(search),
        kernels_(kernels().search),
        out_(target.size(0)),
        in_(target.size(1)),
        g_(search.code_group_size()),
        per_row_(in_ / g_),
        num_codes_(search.num_codes()),
        slots_(std::clamp<int64_t>(kPanelInputs / g_, 1, per_row_)),
        target_(objective.target(target).contiguous()),
        weight_(weight),
        hessian_(objective.separable() ? torch::Tensor()
                                       : objective.dense_hessian(in_).contiguous()),
        diagonal_(objective.separable() && objective.hessian.defined()
                      ? objective.hessian.contiguous()
                      : torch::Tensor()),
        code_groups_(code_groups.defined() ? code_groups.contiguous() : torch::Tensor()),
        result_(code_groups_.defined() ? codes.index_select(0, code_groups_) : codes.clone()),
        codes_(result_.mutable_data_ptr<int32_t>()) {
    BITSMITH_CHECK(target_.scalar_type() == torch::kFloat && result_.scalar_type() == torch::kInt);
    // Some tasks for each of a few dozen threads, enough rows in each to use the tables well.
    rows_per_task_ = std::clamp<int64_t>(out_ / 24, 16, kMostCodeGroupsAtOnce);
    if (objective.joins_rows()) {  // one row after another
      rows_per_task_ = 1;
      const auto own = objective.row_weights().unsqueeze(1);
      coupling_ = torch::where(own > 0, objective.output_factor / own, torch::zeros_like(own));
    }
    tasks_ = (out_ + rows_per_task_ - 1) / rows_per_task_;
  }

  torch::Tensor run() {
    if (result_.numel() == 0) return result_;
    if (!hessian_.defined() && !diagonal_.defined()) {
      search_.reserve_slots(1);
      search_in_identity();
      return result_;
    }
    if (hessian_.defined()) start_gradient();
    if (coupling_.defined()) {
      each_panel_of_slots([&](int64_t begin, int64_t end) { descend_coupled(begin, end); });
      return result_;
    }
    each_panel([&](int64_t task, int64_t begin, int64_t end) {
      hessian_.defined() ? descend(task, begin, end) : search_in_diagonal(task, begin, end);
    });
    return result_;
  }

  torch::Tensor run_with_feedback(const torch::Tensor& factor) {
    factor_ = factor.contiguous();
    const auto diagonal =
        factor_.reshape({per_row_, g_, per_row_, g_}).diagonal(0, 0, 2).permute({2, 0, 1});
    const auto inverse = torch::linalg_inv(diagonal.to(torch::kDouble));
    inverse_ = inverse.to(torch::kFloat).contiguous();
    sub_hessians_ = torch::bmm(inverse, inverse.transpose(1, 2)).to(torch::kFloat).contiguous();
    gradient_ = target_.clone();
    each_panel([&](int64_t task, int64_t begin, int64_t end) { feed_back(task, begin, end); });
    return result_;
  }

 private:
  // f(begin, end) for panels of code columns whose tables are prepared.
  template <typename F>
  void each_panel_of_slots(const F& f) {
    search_.reserve_slots(slots_);
    entries_.resize(static_cast<size_t>(tasks_));
    parallel_tasks(tasks_, [&](int64_t task) { list_entries(task); });
    for (int64_t begin = 0; begin < per_row_; begin += slots_) {
      const int64_t end = std::min(begin + slots_, per_row_);
      parallel_tasks(end - begin, [&](int64_t slot) { prepare_slot(slot, begin + slot); });
      f(begin, end);
    }
  }
  template <typename PanelTask>
  void each_panel(const PanelTask& panel_task) {
    each_panel_of_slots([&](int64_t begin, int64_t end) {
      parallel_tasks(tasks_, [&](int64_t task) { panel_task(task, begin, end); });
    });
  }

  int64_t code_column(const Entry& entry) const { return entry.code_group % per_row_; }
  const float* target_of(int64_t code_group) const {
    return target_.const_data_ptr<float>() + code_group * g_;
  }

  // A task's code groups by code column, then row.
  void list_entries(int64_t task) {
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
    std::stable_sort(entries.begin(), entries.end(), [&](const Entry& a, const Entry& b) {
      return code_column(a) < code_column(b);
    });
  }

  // The task's entries of column j, at most rows_per_task_.
  std::pair<const Entry*, const Entry*> entries_of(int64_t task, int64_t j) const {
    const auto& entries = entries_[static_cast<size_t>(task)];
    const auto less = [&](const Entry& entry, int64_t c) { return code_column(entry) < c; };
    const auto from = std::lower_bound(entries.begin(), entries.end(), j, less);
    const auto to = std::lower_bound(from, entries.end(), j + 1, less);
    return {entries.data() + (from - entries.begin()), entries.data() + (to - entries.begin())};
  }

  void prepare_slot(int64_t slot, int64_t j) {
    if (sub_hessians_.defined()) {
      search_.prepare(slot, sub_hessians_.const_data_ptr<float>() + j * g_ * g_);
      return;
    }
    std::vector<float> sub_hessian(static_cast<size_t>(g_ * g_));
    for (int64_t a = 0; a < g_; ++a) {
      if (diagonal_.defined() && !hessian_.defined()) {
        sub_hessian[a * g_ + a] = diagonal_.const_data_ptr<float>()[j * g_ + a];
      } else {
        std::copy_n(hessian_row(j * g_ + a) + j * g_, g_, sub_hessian.begin() + a * g_);
      }
    }
    search_.prepare(slot, sub_hessian.data());
  }

  void search_in_identity() {
    std::vector<float> sub_hessian(static_cast<size_t>(g_ * g_));
    for (int64_t a = 0; a < g_; ++a) sub_hessian[a * g_ + a] = 1;
    search_.prepare(0, sub_hessian.data());
    const int64_t n = result_.size(0);
    parallel_tasks((n + kMostCodeGroupsAtOnce - 1) / kMostCodeGroupsAtOnce, [&](int64_t task) {
      const int64_t begin = task * kMostCodeGroupsAtOnce;
      const int64_t count = std::min(kMostCodeGroupsAtOnce, n - begin);
      std::vector<int64_t> code_groups(static_cast<size_t>(count));
      std::vector<float> linear(static_cast<size_t>(count * g_));
      for (int64_t i = 0; i < count; ++i) {
        code_groups[i] =
            code_groups_.defined() ? code_groups_.const_data_ptr<int64_t>()[begin + i] : begin + i;
        std::copy_n(target_of(code_groups[i]), g_, linear.begin() + i * g_);
      }
      search_.search(0, count, code_groups.data(), linear.data(), codes_ + begin * num_codes_);
    });
  }

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

  void load(const Entry* from, int64_t count, Batch& batch) const {
    for (int64_t i = 0; i < count; ++i) {
      batch.code_groups[i] = from[i].code_group;
      std::copy_n(codes_ + from[i].position * num_codes_, num_codes_,
                  batch.codes.begin() + i * num_codes_);
    }
  }
  void save(const Entry* from, int64_t count, const Batch& batch) {
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(batch.codes.begin() + i * num_codes_, num_codes_,
                  codes_ + from[i].position * num_codes_);
    }
  }

  void search_in_diagonal(int64_t task, int64_t begin, int64_t end) {
    Batch batch(rows_per_task_, g_, num_codes_);
    for (int64_t j = begin; j < end; ++j) {
      const auto [from, to] = entries_of(task, j);
      const int64_t count = to - from;
      if (count == 0) continue;
      load(from, count, batch);
      const float* weights = diagonal_.const_data_ptr<float>() + j * g_;
      for (int64_t i = 0; i < count; ++i) {
        const float* wanted = target_of(from[i].code_group);
        for (int64_t d = 0; d < g_; ++d) batch.linear[i * g_ + d] = weights[d] * wanted[d];
      }
      search_.search(j - begin, count, batch.code_groups.data(), batch.linear.data(),
                     batch.codes.data());
      save(from, count, batch);
    }
  }

  // gradient = (target - weight) H, half the slope of the objective with its sign turned.
  void start_gradient() {
    gradient_ = target_ - weight_;
    if (coupling_.defined()) {
      gradient_ = row_chunked_matmul(coupling_, row_chunked_matmul(gradient_, hessian_));
      return;
    }
    parallel_tasks(tasks_, [&](int64_t task) {
      const torch::NoGradGuard no_grad;  // each thread has its own flag
      auto rows = task_rows(gradient_, task);
      rows.copy_(at::mm(rows, hessian_));
    });
  }
  torch::Tensor task_rows(const torch::Tensor& matrix, int64_t task) const {
    const int64_t first = task * rows_per_task_;
    return matrix.narrow(0, first, std::min(rows_per_task_, out_ - first));
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
                    const torch::Tensor& rows) const {
    if (panel_end == in_ || !moves.defined()) return;
    const int64_t width = moves.size(1), beyond = in_ - panel_end;
    const auto later = matrix.narrow(0, panel_end - width, width).narrow(1, panel_end, beyond);
    rows.narrow(1, panel_end, beyond).addmm_(moves, later, 1, -1);
  }

  // One task's share of a panel, code column by code column: codes for what `linear_of` asks,
  // and what `move_of` makes of them taken from the columns after it: rows -= moves * matrix.
  // `rows` is the task's part of gradient_; the columns beyond the panel are left to the caller.
  // Returns the moves [rows, width], undefined where there are none.
  // linear_of(j, own, before, linear): the linear term [g] of the search, from the code group's
  // part of the rows and its present values. move_of(j, own, before, after, move): whether there is
  // a move.
  template <typename LinearOf, typename MoveOf>
  torch::Tensor sweep(int64_t task, int64_t begin, int64_t end, const torch::Tensor& matrix,
                      const LinearOf& linear_of, const MoveOf& move_of) {
    Batch batch(rows_per_task_, g_, num_codes_);
    const int64_t first_row = task * rows_per_task_, panel_end = end * g_;
    const int64_t width = panel_end - begin * g_;
    const auto rows = task_rows(gradient_, task);
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
        linear_of(j, row_data + row * in_ + j * g_, batch.before.data() + i * g_,
                  batch.linear.data() + i * g_);
      }
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

  // Coordinate descent: the rows hold the gradient.
  torch::Tensor descent_moves(int64_t task, int64_t begin, int64_t end) {
    return sweep(
        task, begin, end, hessian_,
        // sub_hessian * present values + gradient: the code group's own part of the gradient
        // undone.
        [&](int64_t j, const float* gradient, const float* before, float* linear) {
          std::copy_n(gradient, g_, linear);
          add_product(hessian_row(j * g_) + j * g_, in_, before, linear);
        },
        [&](int64_t, const float*, const float* before, const float* after, float* move) {
          bool differs = false;
          for (int64_t d = 0; d < g_; ++d) {
            move[d] = after[d] - before[d];
            differs |= move[d] != 0;
          }
          return differs;
        });
  }
  void descend(int64_t task, int64_t begin, int64_t end) {
    const torch::NoGradGuard no_grad;  // each thread has its own flag
    const auto moves = descent_moves(task, begin, end);
    carry_beyond(end * g_, moves, hessian_, task_rows(gradient_, task));
  }

  // Coordinate descent where rows meet: one after another. The rows hold the gradient over their
  // own entry of G, so that the search of a row is that without G. A row's moves change the
  // gradient of the rows after it: of the next few at once, of the others in the panel by one
  // product when those few are done, of what lies beyond the panel at its end.
  void descend_coupled(int64_t begin, int64_t end) {
    const int64_t first = begin * g_, width = (end - begin) * g_, next = end * g_;
    const auto hessian = hessian_.narrow(0, first, width);
    const auto own = hessian.narrow(1, first, width).contiguous();
    auto all = torch::zeros({out_, width}, torch::kFloat);
    for (int64_t row = 0; row < out_; row += kRowsInTurn) {
      const int64_t rows = std::min(kRowsInTurn, out_ - row), after = out_ - row - rows;
      const auto moves = all.narrow(0, row, rows);
      bool moved = false;
      parallel_tasks(1, [&](int64_t) { moved = descend_in_turn(row, begin, end, own, moves); });
      if (!moved || after == 0) continue;
      row_chunked_subtract(coupling_.narrow(0, row + rows, after).narrow(1, row, rows),
                           row_chunked_matmul(moves, own),
                           gradient_.narrow(0, row + rows, after).narrow(1, first, width));
    }
    if (next == in_) return;
    row_chunked_subtract(row_chunked_matmul(coupling_, all),
                         hessian.narrow(1, next, in_ - next).contiguous(),
                         gradient_.narrow(1, next, in_ - next));
  }
  // The rows of `moves` [rows, width], which begin at `first_row`, and what they move among
  // themselves; whether there is any. hessian [width, width]: the panel's.
  bool descend_in_turn(int64_t first_row, int64_t begin, int64_t end, const torch::Tensor& hessian,
                       const torch::Tensor& moves) {
    const torch::NoGradGuard no_grad;  // each thread has its own flag
    bool moved = false;
    for (int64_t i = 0; i < moves.size(0); ++i) {
      const int64_t row = first_row + i, after = moves.size(0) - i - 1;
      if (!(coupling_.const_data_ptr<float>()[row * (out_ + 1)] > 0)) continue;  // costs nothing
      const auto own = descent_moves(row, begin, end);
      if (!own.defined()) continue;
      moved = true;
      moves.narrow(0, i, 1).copy_(own);
      gradient_.narrow(0, row + 1, after)
          .narrow(1, begin * g_, moves.size(1))
          .addmm_(coupling_.narrow(0, row + 1, after).narrow(1, row, 1), at::mm(own, hessian), 1,
                  -1);
    }
    return moved;
  }

  // The rows hold the weights as they should be after the errors of the code groups before; the
  // moves are errors over the factor's diagonal block.
  void feed_back(int64_t task, int64_t begin, int64_t end) {
    const torch::NoGradGuard no_grad;
    const auto moves = sweep(
        task, begin, end, factor_,
        [&](int64_t j, const float* wanted, const float*, float* linear) {
          std::fill_n(linear, g_, 0.0f);
          add_product(sub_hessians_.const_data_ptr<float>() + j * g_ * g_, g_, wanted, linear);
        },
        [&](int64_t j, const float* wanted, const float*, const float* after, float* move) {
          const float* inverse = inverse_.const_data_ptr<float>() + j * g_ * g_;
          for (int64_t a = 0; a < g_; ++a) {
            const float difference = wanted[a] - after[a];
            for (int64_t b = 0; b < g_; ++b) move[b] += difference * inverse[a * g_ + b];
          }
          return true;
        });
    carry_beyond(end * g_, moves, factor_, task_rows(gradient_, task));
  }

  CodeGroupSearch& search_;
  const SearchKernels& kernels_;
  int64_t out_, in_, g_, per_row_, num_codes_, slots_, rows_per_task_, tasks_;
  torch::Tensor target_, weight_, hessian_, diagonal_, code_groups_;
  torch::Tensor coupling_;  // [out, out]: G over its diagonal, row by row; undefined: rows apart
  torch::Tensor gradient_;  // [out, in] (target - weight) H; with feedback: the weights wanted
  torch::Tensor factor_;    // with feedback: U, H^-1 = U^T U
  torch::Tensor inverse_, sub_hessians_;  // [per_row, g, g]: U_jj^-1 and U_jj^-1 U_jj^-T
  torch::Tensor result_;
  int32_t* codes_;
  std::vector<std::vector<Entry>> entries_;  // of each task
};

}  // namespace

torch::Tensor search_code_groups(CodeGroupSearch& search, const torch::Tensor& weight,
                                 const torch::Tensor& codes, const torch::Tensor& target,
                                 const Objective& objective, const torch::Tensor& code_groups) {
  const torch::NoGradGuard no_grad;
  return Descent(search, weight, codes, target, objective, code_groups).run();
}

torch::Tensor search_with_feedback(CodeGroupSearch& search, const torch::Tensor& codes,
                                   const torch::Tensor& target, const torch::Tensor& factor) {
  const torch::NoGradGuard no_grad;
  return Descent(search, {}, codes, target, {}, {}).run_with_feedback(factor);
}

}  // namespace bitsmith
