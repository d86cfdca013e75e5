#include <algorithm>
#include <utility>
#include <vector>

#include "compressor/objective/row_products.h"
#include "compressor/representation/code_group_descent.h"

namespace bitsmith {

void Descent::descend_coupled(int64_t begin, int64_t end) {
  const int64_t first = begin * g_, width = (end - begin) * g_, next = end * g_;
  const auto hessian = hessian_.narrow(0, first, width);
  const auto own = hessian.narrow(1, first, width).contiguous();
  auto all = torch::zeros({out_, width}, torch::kFloat);
  for (int64_t task = 0; task < entries_.tasks(); ++task) {
    const auto moves = task_rows(all, task);
    bool moved = false;
    for (int64_t j = begin; j < end; ++j) moved |= descend_in_turn(task, j, begin, own, moves);
    const int64_t row = entries_.first_row(task), later = row + moves.size(0);
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

bool Descent::descend_in_turn(int64_t task, int64_t j, int64_t begin, const torch::Tensor& hessian,
                              const torch::Tensor& moves) {
  constexpr int64_t kAtOnce = 8;  // one thread's
  const auto [from, to] = entries_.at(task, j);
  const int64_t count = to - from, first_row = entries_.first_row(task);
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
    for (int64_t i = first; i < first + n; ++i) {
      std::copy_n(gradient_of(i), g_, batch.linear.begin() + i * g_);
      add_product(sub_hessian, in_, batch.before.data() + i * g_, batch.linear.data() + i * g_);
    }
    search_.search(j - begin, n, batch.code_groups.data() + first, batch.linear.data() + first * g_,
                   batch.codes.data() + first * num_codes_);
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
    add_product(sub_hessian, in_, move.data(), image.data());
    double cost = 0;
    for (int64_t d = 0; d < g_; ++d)
      cost += static_cast<double>(move[d]) * (image[d] - 2 * gradient_of(i)[d]);
    return std::pair(differs, cost < 0);
  };
  const float* coupling = coupling_.const_data_ptr<float>();
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

}  // namespace bitsmith
