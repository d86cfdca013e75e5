#include "compressor/representation/code_group_search.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "compressor/objective/row_products.h"
#include "compressor/representation/code_group_descent.h"

namespace bitsmith {
namespace {

constexpr int64_t kMostCodeGroupsAtOnce = 64;

// Some tasks for each of a few dozen threads, enough rows in each to use the tables well.
int64_t rows_per_task(int64_t out, const Objective& objective) {
  return objective.joins_rows() ? kRowsInTurn
                                : std::clamp<int64_t>(out / 24, 16, kMostCodeGroupsAtOnce);
}

}  // namespace

Descent::Descent(CodeGroupSearch& search, const torch::Tensor& weight, const torch::Tensor& codes,
                 const torch::Tensor& target, const Objective& objective,
                 const torch::Tensor& code_groups)
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
      hessian_(objective.separable() ? torch::Tensor() : objective.dense_hessian(in_).contiguous()),
      diagonal_(objective.separable() && objective.hessian.defined()
                    ? objective.hessian.contiguous()
                    : torch::Tensor()),
      code_groups_(code_groups.defined() ? code_groups.contiguous() : torch::Tensor()),
      result_(code_groups_.defined() ? codes.index_select(0, code_groups_) : codes.clone()),
      codes_(result_.mutable_data_ptr<int32_t>()),
      rows_per_task_(rows_per_task(out_, objective)),
      entries_(out_, per_row_, rows_per_task_, code_groups_) {
  BITSMITH_CHECK(target_.scalar_type() == torch::kFloat && result_.scalar_type() == torch::kInt);
  if (objective.joins_rows()) {
    const auto own = objective.row_weights().unsqueeze(1);
    coupling_ = torch::where(own > 0, objective.output_factor / own, torch::zeros_like(own));
  }
}

torch::Tensor Descent::run() {
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

torch::Tensor Descent::run_with_feedback(const torch::Tensor& factor) {
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

void Descent::prepare_slot(int64_t slot, int64_t j) {
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

void Descent::search_in_identity() {
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

void Descent::load(const Entry* from, int64_t count, Batch& batch) const {
  for (int64_t i = 0; i < count; ++i) {
    batch.code_groups[i] = from[i].code_group;
    std::copy_n(codes_ + from[i].position * num_codes_, num_codes_,
                batch.codes.begin() + i * num_codes_);
  }
}

void Descent::save(const Entry* from, int64_t count, const Batch& batch) {
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(batch.codes.begin() + i * num_codes_, num_codes_,
                codes_ + from[i].position * num_codes_);
  }
}

void Descent::search_in_diagonal(int64_t task, int64_t begin, int64_t end) {
  Batch batch(rows_per_task_, g_, num_codes_);
  for (int64_t j = begin; j < end; ++j) {
    const auto [from, to] = entries_.at(task, j);
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

void Descent::start_gradient() {
  gradient_ = target_ - weight_;
  if (coupling_.defined()) {
    gradient_ = row_chunked_matmul(coupling_, row_chunked_matmul(gradient_, hessian_));
    return;
  }
  parallel_tasks(entries_.tasks(), [&](int64_t task) {
    const torch::NoGradGuard no_grad;  // each thread has its own flag
    auto rows = task_rows(gradient_, task);
    rows.copy_(at::mm(rows, hessian_));
  });
}

void Descent::carry_beyond(int64_t panel_end, const torch::Tensor& moves,
                           const torch::Tensor& matrix, const torch::Tensor& rows) const {
  if (panel_end == in_ || !moves.defined()) return;
  const int64_t width = moves.size(1), beyond = in_ - panel_end;
  const auto later = matrix.narrow(0, panel_end - width, width).narrow(1, panel_end, beyond);
  rows.narrow(1, panel_end, beyond).addmm_(moves, later, 1, -1);
}

template <typename LinearOf, typename MoveOf>
torch::Tensor Descent::sweep(int64_t task, int64_t begin, int64_t end, const torch::Tensor& matrix,
                             const LinearOf& linear_of, const MoveOf& move_of) {
  Batch batch(rows_per_task_, g_, num_codes_);
  const int64_t first_row = entries_.first_row(task), panel_end = end * g_;
  const int64_t width = panel_end - begin * g_;
  const auto rows = task_rows(gradient_, task);
  auto* row_data = rows.mutable_data_ptr<float>();
  auto moves = torch::zeros({rows.size(0), width}, torch::kFloat);
  auto* move_data = moves.mutable_data_ptr<float>();
  bool moved = false;
  for (int64_t j = begin; j < end; ++j) {
    const auto [from, to] = entries_.at(task, j);
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
      kernels_.subtract_product(move, matrix.const_data_ptr<float>() + j * g_ * in_ + next, g_, in_,
                                panel_end - next, row_data + row * in_ + next);
    }
  }
  return moved ? moves : torch::Tensor();
}

void Descent::descend(int64_t task, int64_t begin, int64_t end) {
  const torch::NoGradGuard no_grad;  // each thread has its own flag
  const auto moves = sweep(
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
  carry_beyond(end * g_, moves, hessian_, task_rows(gradient_, task));
}

void Descent::feed_back(int64_t task, int64_t begin, int64_t end) {
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
