#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "compressor/objective/row_products.h"
#include "compressor/representation/code_group_walk.h"

namespace bitsmith {
namespace {

class Descent final : CodeGroupWalk {
 public:
  Descent(CodeGroupSearch& search, const torch::Tensor& weight, const torch::Tensor& codes,
          const torch::Tensor& target, const Objective& objective, const torch::Tensor& code_groups)
      : CodeGroupWalk(search, target.size(0), target.size(1), codes, code_groups,
                      objective.joins_rows() ? Rows::kInTurn : Rows::kSideBySide),
        target_(objective.target(target).contiguous()),
        weight_(weight),
        hessian_(objective.separable() ? torch::Tensor()
                                       : objective.dense_hessian(in_).contiguous()),
        diagonal_(objective.separable() && objective.hessian.defined()
                      ? objective.hessian.contiguous()
                      : torch::Tensor()) {
    BITSMITH_CHECK(target_.scalar_type() == torch::kFloat);
    if (objective.joins_rows()) {
      const auto own = objective.row_weights().unsqueeze(1);
      coupling_ = torch::where(own > 0, objective.output_factor / own, torch::zeros_like(own));
    }
  }

  torch::Tensor run() {
    if (result_.numel() == 0) return result_;
    if (!hessian_.defined() && !diagonal_.defined()) {
      search_.reserve_slots(1);
      search_in_identity();
      return result_;
    }
    if (!hessian_.defined()) {
      each_task(
          [&](int64_t task, int64_t begin, int64_t end) { search_in_diagonal(task, begin, end); });
      return result_;
    }
    start_gradient();
    if (coupling_.defined())
      each_panel([&](int64_t begin, int64_t end) { descend_coupled(begin, end); });
    else
      each_task([&](int64_t task, int64_t begin, int64_t end) { descend(task, begin, end); });
    return result_;
  }

 private:
  const float* target_of(int64_t code_group) const {
    return target_.const_data_ptr<float>() + code_group * g_;
  }
  const float* hessian_row(int64_t input) const {
    return hessian_.const_data_ptr<float>() + input * in_;
  }

  void sub_hessian(int64_t j, float* values) const override {
    for (int64_t a = 0; a < g_; ++a) {
      if (hessian_.defined())
        std::copy_n(hessian_row(j * g_ + a) + j * g_, g_, values + a * g_);
      else
        values[a * g_ + a] = diagonal_.const_data_ptr<float>()[j * g_ + a];
    }
  }

  void search_in_identity() {
    std::vector<float> identity(static_cast<size_t>(g_ * g_));
    for (int64_t a = 0; a < g_; ++a) identity[a * g_ + a] = 1;
    search_.prepare(0, identity.data());
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

  void descend(int64_t task, int64_t begin, int64_t end) {
    const torch::NoGradGuard no_grad;  // each thread has its own flag
    const auto moves = search_panel(
        task, begin, end, gradient_, hessian_,
        // sub_hessian * present values + gradient: the code group's own part of the gradient
        // undone.
        [&](int64_t j, int64_t count, Batch& batch) {
          std::copy_n(batch.own.begin(), count * g_, batch.linear.begin());
          add_products(hessian_row(j * g_) + j * g_, in_, count, batch.before.data(),
                       batch.linear.data());
        },
        [&](int64_t, const float*, const float* before, const float* after, float* move) {
          bool differs = false;
          for (int64_t d = 0; d < g_; ++d) {
            move[d] = after[d] - before[d];
            differs |= move[d] != 0;
          }
          return differs;
        });
    carry_beyond(end * g_, moves, hessian_, task_rows(gradient_, task));
  }

  // Where rows meet, task after task. The rows hold the gradient over their own entry of G, so that
  // the search of a row is that without G. What moves changes the gradient of the task's own rows
  // in the panel at once, of the rows after them when the task is done, of what lies beyond the
  // panel at its end.
  void descend_coupled(int64_t begin, int64_t end) {
    const int64_t first = begin * g_, width = (end - begin) * g_, next = end * g_;
    const auto hessian = hessian_.narrow(0, first, width);
    const auto own = hessian.narrow(1, first, width).contiguous();
    auto all = torch::zeros({out_, width}, torch::kFloat);
    for (int64_t task = 0; task < tasks_; ++task) {
      const auto moves = task_rows(all, task);
      bool moved = false;
      for (int64_t j = begin; j < end; ++j) moved |= descend_in_turn(task, j, begin, own, moves);
      const int64_t row = task * rows_per_task_, later = row + moves.size(0);
      if (!moved || later == out_) continue;
      row_chunked_subtract(coupling_.narrow(0, later, out_ - later).narrow(1, row, moves.size(0)),
                           row_chunked_matmul(moves, own),
                           gradient_.narrow(0, later, out_ - later).narrow(1, first, width));
    }
    if (next == in_) return;
    row_chunked_subtract(row_chunked_matmul(coupling_, all),
                         hessian.narrow(1, next, in_ - next).contiguous(),
                         gradient_.narrow(1, next, in_ - next));
  }

  // A task's rows in code column j: all are searched at the same time, as if the others stayed.
  // Then those that would move take turns; each is searched anew where what was found for it no
  // longer lowers the cost.
  // `moves` are those of the panel, `hessian` [width, width] is the panel's. Returns whether any
  // moved.
  bool descend_in_turn(int64_t task, int64_t j, int64_t begin, const torch::Tensor& hessian,
                       const torch::Tensor& moves) {
    constexpr int64_t kAtOnce = 8;  // one thread's
    const auto [from, to] = entries_of(task, j);
    const int64_t count = to - from, first_row = task * rows_per_task_;
    if (count == 0) return false;
    Batch batch(count, g_, num_codes_);
    load(from, count, batch);
    search_.decode(count, batch.code_groups.data(), batch.codes.data(), batch.before.data());
    const float* sub_hessian = hessian_row(j * g_) + j * g_;
    const auto row_of = [&, from = from](int64_t i) { return from[i].code_group / per_row_; };
    const auto gradient_of = [&](int64_t i) {
      return gradient_.mutable_data_ptr<float>() + row_of(i) * in_ + j * g_;
    };
    const auto search = [&](int64_t first, int64_t n) {
      for (int64_t i = first; i < first + n; ++i)
        std::copy_n(gradient_of(i), g_, batch.linear.begin() + i * g_);
      add_products(sub_hessian, in_, n, batch.before.data() + first * g_,
                   batch.linear.data() + first * g_);
      search_.search(j - begin, n, batch.code_groups.data() + first,
                     batch.linear.data() + first * g_, batch.codes.data() + first * num_codes_);
      search_.decode(n, batch.code_groups.data() + first, batch.codes.data() + first * num_codes_,
                     batch.after.data() + first * g_);
    };
    parallel_tasks((count + kAtOnce - 1) / kAtOnce, [&](int64_t part) {
      search(part * kAtOnce, std::min(kAtOnce, count - part * kAtOnce));
    });

    bool moved = false;
    std::vector<float> move(static_cast<size_t>(g_)), image(move.size());  // image: through H
    // Whether entry i moves, and whether that lowers the cost.
    const auto weigh = [&](int64_t i) {
      bool differs = false;
      for (int64_t d = 0; d < g_; ++d) {
        move[d] = batch.after[i * g_ + d] - batch.before[i * g_ + d];
        differs |= move[d] != 0;
      }
      std::fill(image.begin(), image.end(), 0.0f);
      add_products(sub_hessian, in_, 1, move.data(), image.data());
      double cost = 0;
      for (int64_t d = 0; d < g_; ++d)
        cost += static_cast<double>(move[d]) * (image[d] - 2 * gradient_of(i)[d]);
      return std::pair(differs, cost < 0);
    };
    const float* coupling = coupling_.const_data_ptr<float>();
    const ProductsOfOneThread products;  // of searches, as in a task
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = row_of(i);
      if (!(coupling[row * (out_ + 1)] > 0)) continue;  // costs nothing
      const auto [differs, lowers] = weigh(i);
      if (!differs) continue;
      int32_t* present = codes_ + from[i].position * num_codes_;
      if (!lowers) {
        std::copy_n(present, num_codes_, batch.codes.begin() + i * num_codes_);
        search(i, 1);
        if (!weigh(i).first) continue;
      }
      std::copy_n(batch.codes.begin() + i * num_codes_, num_codes_, present);
      std::copy_n(
          move.begin(), g_,
          moves.mutable_data_ptr<float>() + (row - first_row) * moves.size(1) + (j - begin) * g_);
      for (int64_t later = i + 1; later < count; ++later) {
        const float share = coupling[row_of(later) * out_ + row];
        for (int64_t d = 0; d < g_; ++d) gradient_of(later)[d] -= share * image[d];
      }
      moved = true;
    }
    const int64_t next = (j + 1 - begin) * g_, rest = moves.size(1) - next;
    if (!moved || rest == 0) return moved;
    parallel_tasks(1, [&](int64_t) {
      const torch::NoGradGuard no_grad;
      const auto change = at::mm(moves.narrow(1, next - g_, g_),
                                 hessian.narrow(0, next - g_, g_).narrow(1, next, rest));
      task_rows(gradient_, task)
          .narrow(1, (j + 1) * g_, rest)
          .addmm_(task_rows(coupling_, task).narrow(1, first_row, moves.size(0)), change, 1, -1);
    });
    return moved;
  }

  torch::Tensor target_, weight_, hessian_, diagonal_;
  torch::Tensor coupling_;  // [out, out]: G over its diagonal, row by row; undefined: rows apart
  torch::Tensor gradient_;  // [out, in] (target - weight) H
};

}  // namespace

torch::Tensor search_code_groups(CodeGroupSearch& search, const torch::Tensor& weight,
                                 const torch::Tensor& codes, const torch::Tensor& target,
                                 const Objective& objective, const torch::Tensor& code_groups) {
  const torch::NoGradGuard no_grad;
  return Descent(search, weight, codes, target, objective, code_groups).run();
}

}  // namespace bitsmith
