#include "runtime/matrices/panel_matrix.h"

#include <algorithm>

#include "kernels/aligned_buffer.h"

namespace bitsmith {
namespace {

static_assert(kInt8Unit == kUniformUnit);  // UniformGemvKernels::quantize() makes Int8Inputs

int64_t padded(int64_t inputs) { return (inputs + kInt8Unit - 1) / kInt8Unit * kInt8Unit; }

}  // namespace

void run_ranges(ThreadPool& pool, int64_t count,
                const std::function<void(int64_t, int64_t)>& task) {
  constexpr int64_t kRangesPerThread = 4;  // so that a thread that is held up does not hold up all
  const int64_t ranges = pool.size() == 1 ? 1 : std::min(count, pool.size() * kRangesPerThread);
  pool.run(ranges, [&](int64_t i) {
    const int64_t first = count * i / ranges, end = count * (i + 1) / ranges;
    task(first, end - first);
  });
}

bool PanelMatrix::multiply_single(const float* x, int64_t tokens, float* y, ThreadPool& pool) {
  for (int64_t t = 0; t < tokens; ++t) {
    if (!multiply_one(x + t * in_features, y + t * out_features, pool)) return false;
  }
  return true;
}

void PanelMatrix::decode_panel(int64_t p, float* panel) const {
  struct Rows;  // multiply() has its own scratch in use
  const int64_t first = p * kPanelRows, rows = std::min(kPanelRows, out_features - first);
  float* decoded = thread_scratch<float, Rows>(rows * in_features);
  for (int64_t r = 0; r < rows; ++r) decode_row(first + r, decoded + r * in_features);
  kernels().gemm.pack_f32(decoded, rows, in_features, panel);
}

std::optional<PanelMatrix::Int8Blocks> PanelMatrix::int8_blocks() const {
  return Int8Blocks{.inputs = padded(in_features), .chunk = kInt8Unit};
}

void PanelMatrix::decode_int8(int64_t p, int64_t, const Int8Panel& panel) const {
  struct Row;
  struct Rounded;
  const int64_t begin = p * kInt8Rows, rows = std::min(kInt8Rows, out_features - begin);
  const int64_t units = panel.inputs / kInt8Unit;
  float* row = thread_scratch<float, Row>(in_features);
  int8_t* codes = thread_scratch<int8_t, Rounded>(rows * panel.inputs);
  float* scales = thread_scratch<float, Rounded>(rows * units);
  int32_t* sums = thread_scratch<int32_t, Rounded>(units);  // of no use here
  for (int64_t r = 0; r < rows; ++r) {
    decode_row(begin + r, row);
    kernels().uniform.quantize(row, in_features, kInt8Unit,
                               {codes + r * panel.inputs, scales + r * units, sums});
  }
  kernels().int8_gemm.pack(codes, rows, panel.inputs, panel.inputs, panel.codes);
  kernels().gemm.pack_f32(scales, rows, units, panel.scales);
}

void PanelMatrix::multiply(Products products, const float* x, int64_t tokens, float* y,
                           ThreadPool& pool) {
  if (products == Products::kExact) return multiply_exact(x, tokens, y, pool);
  if (products == Products::kShared)
    products = decodes_for_few() ? Products::kInt8 : Products::kSingle;
  const std::optional<Int8Blocks> blocks = int8_blocks();
  const bool int8 = products == Products::kInt8 || (tokens > 1 && blocks && blocks->same_as_one);
  if (int8 && blocks) return multiply_int8(*blocks, x, tokens, y, pool);
  if (int8 || !multiply_single(x, tokens, y, pool)) multiply_exact(x, tokens, y, pool);
}

void PanelMatrix::multiply_int8(const Int8Blocks& blocks, const float* x, int64_t tokens, float* y,
                                ThreadPool& pool) const {
  struct Inputs;
  struct Block;
  struct Sums;
  const int64_t stride = padded(in_features), chunk = blocks.chunk;
  int8_t* codes = thread_scratch<int8_t, Inputs>(tokens * stride);
  float* scales = thread_scratch<float, Inputs>(tokens * stride / kInt8Unit);
  int32_t* code_sums = thread_scratch<int32_t, Inputs>(tokens * stride / chunk);
  run_ranges(pool, tokens, [&](int64_t first, int64_t count) {
    for (int64_t t = first; t < first + count; ++t) {
      kernels().uniform.quantize(
          x + t * in_features, in_features, blocks.chunk,
          {codes + t * stride, scales + t * stride / kInt8Unit, code_sums + t * stride / chunk});
      if (blocks.order)
        kernels().int8_gemm.reorder(codes + t * stride, stride / kInt8Unit, blocks.order);
    }
  });
  // Some panels at a time, so that a block of activations comes for all of them from the
  // second-level cache.
  const int64_t panels = (out_features + kInt8Rows - 1) / kInt8Rows;
  const int64_t at_once = std::clamp<int64_t>(panels / (4 * pool.size()), 1, 4);
  const int64_t tasks = (panels + at_once - 1) / at_once;
  pool.run(tasks, [&](int64_t task) {
    const int64_t begin = panels * task / tasks, end = panels * (task + 1) / tasks;
    Int8Panel panel = {.inputs = 0,
                       .chunk = blocks.chunk,
                       .codes = thread_scratch<int8_t, Block>(blocks.inputs * kInt8Rows),
                       .scales = thread_scratch<float, Block>(blocks.inputs / chunk * kInt8Rows)};
    const int64_t panel_sums = tokens * kInt8Rows;
    float* sums = thread_scratch<float, Sums>((end - begin) * panel_sums);
    std::fill_n(sums, (end - begin) * panel_sums, 0.0f);
    for (int64_t first = 0; first < stride; first += blocks.inputs) {
      panel.inputs = std::min(blocks.inputs, stride - first);
      const Int8Inputs inputs = {codes + first, scales + first / kInt8Unit,
                                 code_sums + first / chunk, stride};
      for (int64_t p = begin; p < end; ++p) {
        decode_int8(p, first, panel);
        kernels().int8_gemm.multiply(panel, inputs, tokens, sums + (p - begin) * panel_sums);
      }
    }
    for (int64_t p = begin; p < end; ++p) {
      const int64_t row = p * kInt8Rows, rows = std::min(kInt8Rows, out_features - row);
      const float* from = sums + (p - begin) * panel_sums;
      for (int64_t t = 0; t < tokens; ++t)
        std::copy_n(from + t * kInt8Rows, rows, y + t * out_features + row);
    }
  });
}

void PanelMatrix::multiply_exact(const float* x, int64_t tokens, float* y, ThreadPool& pool) const {
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
