// intBgG[-z]: w = scale * (code - zero), a scale (and a zero point) for each row and G inputs.
#pragma once
#include <memory>
#include <vector>

#include "compressor/representation/term.h"

namespace bitsmith {

// A code group is one scalar. Scales are continuous, and so are zero points between two
// projections; project() rounds them to what the file holds.
class UniformTerm : public CodedTerm {
 public:
  // scales [out, groups] float32; zeros [out, groups] of any type (undefined without zero points);
  // codes [out, in] of an integer type.
  UniformTerm(const UniformSpec& spec, const torch::Tensor& scales, const torch::Tensor& zeros,
              const torch::Tensor& codes);

  torch::Tensor dequantize() const override;
  std::vector<ContinuousParameter> continuous_parameters() const override;
  void project() override;
  int64_t code_group_size() const override { return 1; }
  torch::Tensor codes() const override { return codes_; }
  torch::Tensor search_codes(const torch::Tensor& target, const Objective& objective,
                             const torch::Tensor& code_groups) const override;
  torch::Tensor search_neighbors(const torch::Tensor& target, const torch::Tensor& codes,
                                 const torch::Tensor& code_groups) const override;
  torch::Tensor decode_code_groups(const torch::Tensor& code_groups,
                                   const torch::Tensor& codes) const override;
  void store(const QuantizedTensor& tensor) const override;

 private:
  UniformSpec uniform_;
  torch::Tensor scales_;  // [out, groups] float32, leaf
  torch::Tensor zeros_;   // [out, groups] float32; a leaf, or all 2^(B-1) without zero points
  torch::Tensor codes_;   // [out * in, 1] uint8
};

}  // namespace bitsmith
