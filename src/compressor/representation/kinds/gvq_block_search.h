// The scale code and the vector codes of a scale block (gvq with -s), searched together: a row's
// block of S weights is one code group here, its codes those of the scale and of S / D vectors.
//
// Every scale that is tried gets its vectors' codes by one pass with error feedback inside the
// block (as GPTQ does in a row), whose cost is known at its end. The scale with the lowest cost,
// and the present one with the present codes, then improve vector by vector (coordinate descent).
// The better of both is taken where it lowers the cost p^T B p - 2 linear^T p; else the present
// codes stay.
#pragma once
#include <vector>

#include "compressor/representation/code_group_search.h"
#include "compressor/torch.h"
#include "format/representation_spec.h"
#include "kernels/kernel_table.h"

namespace bitsmith {

// Scales tried at first: the present code and so many on either side. While the best of them is at
// an end, as many more beyond it.
constexpr int kScaleWindow = 2;

class GvqBlockSearch : public CodeGroupSearch {
 public:
  // centroids [strips, column groups, K, D], grid [strips, column groups, 2] (GvqTensors): float32
  // on the CPU.
  GvqBlockSearch(const GvqLayout& layout, const torch::Tensor& centroids, const torch::Tensor& grid,
                 int64_t scale_block, int window = kScaleWindow,
                 const SearchKernels& kernels = bitsmith::kernels().search);

  int64_t code_group_size() const override { return scale_block_; }
  // The scale code first.
  int64_t num_codes() const override { return 1 + scale_block_ / layout_.vector_size; }
  void reserve_slots(int64_t slots) override { slots_.resize(static_cast<size_t>(slots)); }
  void prepare(int64_t slot, const float* sub_hessian) override;
  void search(int64_t slot, int64_t count, const int64_t* code_groups, const float* linear,
              int32_t* codes) const override;
  void decode(int64_t count, const int64_t* code_groups, const int32_t* codes,
              float* values) const override;

  // What a slot holds of B, which is divided by the mean of its diagonal. A ridge, also in units of
  // that mean, draws the block to its present values: it holds what B does not feel.
  struct Tables {
    float inverse_mean = 0;            // 0: B is zero
    float ridge = 0;                   // added to the diagonal of B over its mean
    std::vector<float> hessian;        // B + ridge [S, S]
    std::vector<float> minus_inverse;  // its inverse, the sign turned
    std::vector<float> lower;          // L [S, S] lower triangular, the inverse is L L^T
    // Of each vector [S / D, D, D].
    std::vector<float> sub_hessians;    // the diagonal blocks of the Hessian
    std::vector<float> roots;           // the inverse of those of L^T
    std::vector<float> feedback_costs;  // root root^T: what a vector's error costs if those after
                                        // it make the best of it
  };

 private:
  int64_t tile_of(int64_t code_group) const;

  const SearchKernels& kernels_;
  GvqLayout layout_;
  int64_t scale_block_, num_centroids_, padded_, per_row_;
  int window_;
  std::vector<float> columns_;  // [tiles, D, padded]: codebooks transposed and padded
  std::vector<float> scales_;   // [tiles, 16]
  std::vector<Tables> slots_;
};

}  // namespace bitsmith
