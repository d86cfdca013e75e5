#include <algorithm>
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
                      objective.joins_rows() ? Rows::kOneByOne : Rows::kSideBySide),
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

  torch::Tensor descent_moves(int64_t task, int64_t begin, int64_t end) {
    return search_panel(
        task, begin, end, gradient_, hessian_,
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

  // Where rows meet: one after another. The rows hold the gradient over their own entry of G, so
  // that the search of a row is that without G. A row's moves change the gradient of the rows after
  // it; what lies beyond the panel gets those of all rows at its end.
  void descend_coupled(int64_t begin, int64_t end) {
    const int64_t first = begin * g_, width = (end - begin) * g_;
    const auto hessian = hessian_.narrow(0, first, width);
    auto all = torch::zeros({out_, width}, torch::kFloat);
    parallel_tasks(1, [&](int64_t) {
      const torch::NoGradGuard no_grad;
      for (int64_t row = 0; row < out_; ++row) {
        const int64_t after = out_ - row - 1;
        if (!(coupling_.const_data_ptr<float>()[row * (out_ + 1)] > 0)) continue;  // costs nothing
        const auto moves = descent_moves(row, begin, end);
        if (!moves.defined()) continue;
        all.narrow(0, row, 1).copy_(moves);
        const auto change = at::mm(moves, hessian.narrow(1, first, width));
        gradient_.narrow(0, row + 1, after)
            .narrow(1, first, width)
            .addmm_(coupling_.narrow(0, row + 1, after).narrow(1, row, 1), change, 1, -1);
      }
    });
    const int64_t next = end * g_, beyond = in_ - next;
    if (beyond == 0) return;
    row_chunked_subtract(row_chunked_matmul(coupling_, all),
                         hessian.narrow(1, next, beyond).contiguous(),
                         gradient_.narrow(1, next, beyond));
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
