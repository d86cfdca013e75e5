// The walk of one-shot quantization (quantize_model/block_quantizer.h) over a student's blocks: the
// objectives of its matrices on its own inputs, tokens and rows weighted by end-loss gradients.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "compressor/quantize_model/block_quantizer.h"
#include "compressor/tune/code_pass.h"

namespace bitsmith {

// A matrix under training, its original weights [out, in] float32, and what an error of these costs
// by the inputs that the matrix gets now. The shift is what the student's inputs have moved by. The
// output factor, a diagonal, has the size that makes half of the cost what the mean KL grows by.
using MatrixUser = std::function<void(TunedLinear& tuned, const torch::Tensor& weight,
                                      const Objective& objective)>;

class StudentWalk {
 public:
  // Takes the first part of the job's progress for the gradients of the original. toward_teacher:
  // objectives have the shift that makes the original's outputs the target, as far as the two
  // halves of the windows agree on it. The job outlives this.
  StudentWalk(const CodePassJob& job, bool toward_teacher);

  // Blocks come one after another from the first on, each to be left by advance(). Calls `use` with
  // the quantized matrices of the block; those after it see what `use` makes of its dense copy.
  void each_objective(int64_t block, const MatrixUser& use);
  // Passes the windows on through the block as it is now, and through the original's.
  void advance(int64_t block);
  // Tells the job's progress that this share of the block is done.
  void report(int64_t block, double share, const std::string& detail) const;

 private:
  struct Matrix {
    TunedLinear* tuned = nullptr;
    double curvature = 1;  // what the mean of its output factor should be
  };

  const CodePassJob& job_;
  std::map<std::string, Matrix> matrices_;  // of the blocks, by module
  RunContext context_;                      // all that the walk asks of one is in the job
  QuantizationPlan plan_;
  QuantizeModelOptions options_;
  std::unique_ptr<BlockQuantizer> walk_;  // refers to the three above
};

}  // namespace bitsmith
