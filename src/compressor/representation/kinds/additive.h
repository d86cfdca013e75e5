// aqMxBgG[-sGxS] (AQLM): w[j*G .. j*G+G-1] = scale[row] * sum_m codebooks[m][codes[row, j, m]],
// with -s also times a scale of the group.
#pragma once
#include <memory>
#include <vector>

#include "compressor/representation/kinds/group_scales.h"
#include "compressor/representation/term.h"

namespace bitsmith {

class AdditiveTerm : public CodedTerm {
 public:
  // codebooks [M, 2^B, G] and scales [out] float32; codes [out * in / G, M] of an integer type.
  AdditiveTerm(const AdditiveSpec& spec, const torch::Tensor& codebooks,
               const torch::Tensor& scales, const torch::Tensor& codes,
               const GroupScales& group_scales = {});

  torch::Tensor dequantize() const override;
  std::vector<ContinuousParameter> continuous_parameters() const override;
  void project() override;
  int64_t code_group_size() const override { return additive_.in_group_size; }
  torch::Tensor codes() const override { return codes_; }
  torch::Tensor search_codes(const torch::Tensor& target, const Objective& objective,
                             const torch::Tensor& code_groups) const override;
  torch::Tensor search_neighbors(const torch::Tensor& target, const torch::Tensor& codes,
                                 const torch::Tensor& code_groups) const override;
  torch::Tensor decode_code_groups(const torch::Tensor& code_groups,
                                   const torch::Tensor& codes) const override;
  void store(const QuantizedTensor& tensor) const override;

  const torch::Tensor& codebooks() const { return codebooks_; }
  const torch::Tensor& scales() const { return scales_; }
  const GroupScales& group_scales() const { return group_scales_; }

 private:
  AdditiveSpec additive_;
  torch::Tensor codebooks_;   // [M, 2^B, G] float32, leaf
  torch::Tensor scales_;      // [out] float32, leaf
  torch::Tensor codes_;       // [num_code_groups, M]
  GroupScales group_scales_;  // values are a leaf
};

}  // namespace bitsmith
