// e8p, e8p3, e8p4 (QuIP#): w[8 j .. 8 j + 7] = sum over stages of scales[row, stage] * the point of
// codes[row, j, stage].
#pragma once
#include <vector>

#include "compressor/representation/term.h"

namespace bitsmith {

// The codebook of a stage, float32 [K, 8], on `device`.
torch::Tensor e8p_stage_points(const E8pSpec& spec, int stage, torch::Device device);
// What a stage gives if its scales are one [out, in]; codes [out * in / 8, stages] int32.
torch::Tensor e8p_stage_values(const E8pSpec& spec, int stage, const torch::Tensor& codes,
                               int64_t out_features);
// The matrix [out, in]; scales [out, stages]. No autograd.
torch::Tensor e8p_decode(const E8pSpec& spec, const torch::Tensor& scales,
                         const torch::Tensor& codes);

class E8pTerm : public CodedTerm {
 public:
  // scales [out, stages] float32; codes [out * in / 8, stages] int32.
  E8pTerm(const E8pSpec& spec, const torch::Tensor& scales, const torch::Tensor& codes);

  torch::Tensor dequantize() const override;
  std::vector<ContinuousParameter> continuous_parameters() const override;
  void project() override;
  int64_t code_group_size() const override { return kE8Size; }
  torch::Tensor codes() const override { return codes_; }
  torch::Tensor search_codes(const torch::Tensor& target, const Objective& objective,
                             const torch::Tensor& code_groups) const override;
  torch::Tensor search_neighbors(const torch::Tensor& target, const torch::Tensor& codes,
                                 const torch::Tensor& code_groups) const override;
  torch::Tensor decode_code_groups(const torch::Tensor& code_groups,
                                   const torch::Tensor& codes) const override;
  void store(const QuantizedTensor& tensor) const override;

 private:
  E8pSpec e8p_;
  torch::Tensor scales_;  // [out, stages] float32, leaf
  torch::Tensor codes_;   // [num_code_groups, stages] int32
};

}  // namespace bitsmith
