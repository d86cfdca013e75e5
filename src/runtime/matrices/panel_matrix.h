// What all weight matrices share: sharing rows among threads, and the paths for many tokens.
#pragma once
#include <functional>
#include <optional>

#include "kernels/kernel_table.h"
#include "runtime/matrices/weight_matrix.h"

namespace bitsmith {

class PanelMatrix : public WeightMatrix {
 public:
  void multiply(Products products, const float* x, int64_t tokens, float* y,
                ThreadPool& pool) final;

 protected:
  PanelMatrix(int64_t out, int64_t in) {
    out_features = out;
    in_features = in;
  }
  // kSingle, of one token. False when this matrix has no kernel of its own for it and takes the
  // exact path.
  virtual bool multiply_one(const float* x, float* y, ThreadPool& pool) = 0;
  // The same of many tokens, with the same bits; here token by token.
  virtual bool multiply_single(const float* x, int64_t tokens, float* y, ThreadPool& pool);
  // Rows [32 p, 32 p + 32) as a panel of panel_gemm.h; here row by row.
  virtual void decode_panel(int64_t p, float* panel) const;

  // Inputs of an int8 panel that stays in the first-level cache.
  static constexpr int64_t kCachedInputs = 512;
  // How decode_int8() cuts a row.
  struct Int8Blocks {
    int64_t inputs;  // at a time: a multiple of 32
    int chunk;       // of Int8Panel
    const uint8_t* order =
        nullptr;               // [32]: place i of a unit has its input order[i], within a chunk
    bool same_as_one = false;  // the products are those of multiply_one(), bit for bit
  };
  // Here the whole row. Nothing where products in int8 would lose what the weights are kept for:
  // they are exact then.
  virtual std::optional<Int8Blocks> int8_blocks() const;
  // Inputs [first, first + panel.inputs) of rows [32 p, 32 p + 32), first a multiple of the block.
  // Here decoded to float32 and rounded to int8 with a scale per 32 inputs, so that a weight is
  // wrong by 1/254 of the largest of its 32 at most.
  virtual void decode_int8(int64_t p, int64_t first, const Int8Panel& panel) const;

 private:
  void multiply_int8(const Int8Blocks& blocks, const float* x, int64_t tokens, float* y,
                     ThreadPool& pool) const;
  void multiply_exact(const float* x, int64_t tokens, float* y, ThreadPool& pool) const;
};

// Cuts [0, count) into a few even ranges a thread and runs task(first, count) on each. Rows do not
// influence each other, so that the cut may depend on the number of threads.
void run_ranges(ThreadPool& pool, int64_t count,
                const std::function<void(int64_t first, int64_t count)>& task);

}  // namespace bitsmith
