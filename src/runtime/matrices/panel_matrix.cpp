#include "runtime/matrices/panel_matrix.h"

#include <algorithm>

#include "kernels/aligned_buffer.h"

namespace bitsmith {

void run_ranges(ThreadPool& pool, int64_t count,
                const std::function<void(int64_t, int64_t)>& task) {
  constexpr int64_t kRangesPerThread = 4;  // so that a thread that is held up does not hold up all
  const int64_t ranges = pool.size() == 1 ? 1 : std::min(count, pool.size() * kRangesPerThread);
  pool.run(ranges, [&](int64_t i) {
    const int64_t first = count * i / ranges, end = count * (i + 1) / ranges;
    task(first, end - first);
  });
}

void PanelMatrix::decode_panel(int64_t p, float* panel) const {
  struct Rows;  // multiply() has its own scratch in use
  const int64_t first = p * kPanelRows, rows = std::min(kPanelRows, out_features - first);
  float* decoded = thread_scratch<float, Rows>(rows * in_features);
  for (int64_t r = 0; r < rows; ++r) decode_row(first + r, decoded + r * in_features);
  kernels().gemm.pack_f32(decoded, rows, in_features, panel);
}

void PanelMatrix::multiply(const float* x, int64_t tokens, float* y, ThreadPool& pool) {
  if (tokens == 1 && multiply_one(x, y, pool)) return;
  // Activations pass once over as many panels as stay in the second-level cache.
  constexpr int64_t kPanelBytes = 512 << 10;
  const int64_t panel_floats = in_features * kPanelRows;
  const int64_t panels = (out_features + kPanelRows - 1) / kPanelRows;
  const int64_t at_once =
      std::clamp<int64_t>(kPanelBytes / (panel_floats * int64_t{sizeof(float)}), 1, 4);
  const int64_t tasks = std::min(
      panels, (panels + at_once * pool.size() - 1) / (at_once * pool.size()) * pool.size());
  pool.run(tasks, [&](int64_t task) {
    const int64_t first = panels * task / tasks, end = panels * (task + 1) / tasks;
    float* decoded = thread_scratch<float, PanelMatrix>((end - first) * panel_floats);
    for (int64_t p = first; p < end; ++p) decode_panel(p, decoded + (p - first) * panel_floats);
    const int64_t row = first * kPanelRows, rows = std::min(end * kPanelRows, out_features) - row;
    kernels().gemm.multiply(decoded, rows, x, tokens, in_features, y + row, out_features);
  });
}

}  // namespace bitsmith
