// The first of the two interfaces that everything hangs on: a quantized weight matrix W
// [out_features, in_features]. One-shot quantizers, PV-Tuning, saving and evaluation are written
// against this alone; nobody outside this folder and a representation's own quantizer knows which
// one it is.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "compressor/torch.h"
#include "format/quantized_tensor.h"

namespace bitsmith {

// The distance in which codes are searched: sum over rows of d^T M d, d = target - W. Empty:
// identity.
struct Metric {
  torch::Tensor diagonal;  // [in_features] float32, or undefined
  torch::Tensor hessian;   // [in_features, in_features] float32, symmetric positive semi-definite,
                           // or undefined
};

struct ContinuousParameter {
  std::string name;     // the part's name in the file: "codebooks", "scales"
  torch::Tensor value;  // float32 leaf; the representation reads it at every dequantize()
};

// Codes are held group by group: group j of row r covers inputs [j * g, (j+1) * g), g =
// group_inputs(), and has flat index r * (in_features / g) + j. Not thread-safe; const calls may
// run at the same time.
class Representation {
 public:
  virtual ~Representation() = default;
  const RepresentationSpec& spec() const { return spec_; }
  int64_t out_features() const { return out_features_; }
  int64_t in_features() const { return in_features_; }

  // (a) The dense matrix [out, in] float32, differentiable with respect to the continuous
  // parameters.
  virtual torch::Tensor dequantize() const = 0;
  // x [..., in] -> [..., out] in x's dtype. Override where something cheaper than the dense matrix
  // exists.
  virtual torch::Tensor forward(const torch::Tensor& x) const;

  // (b) Continuous parameters, by reference to the live tensors, and their projection onto what the
  // file stores (fp16). Validation and saving always follow project().
  virtual std::vector<ContinuousParameter> continuous_parameters() const = 0;
  virtual void project() = 0;

  // (c) Codes. A linear map connects weights to the space where codes live (identity here; a
  // Hadamard rotation elsewhere); update sizes and trust ratios are measured there.
  virtual torch::Tensor to_code_space(const torch::Tensor& matrix) const { return matrix; }
  virtual int64_t group_inputs() const = 0;
  int64_t num_groups() const { return out_features_ * (in_features_ / group_inputs()); }
  // [num_groups, codes per group] int32, a live tensor: saved and restored by the trainer.
  virtual torch::Tensor codes() const = 0;
  // Best codes for `target` [out, in] in the metric, for the groups listed ([n] int64 flat indices,
  // ascending; undefined: all), starting from the present codes and with the continuous parameters
  // fixed. With a Hessian, groups of a row are visited in turn with their neighbors' present codes
  // (coordinate descent): the row objective never rises. Returns [n, codes per group] int32;
  // changes nothing.
  virtual torch::Tensor search_codes(const torch::Tensor& target, const Metric& metric,
                                     const torch::Tensor& groups) const = 0;
  // Values [n, group_inputs] float32 (code space) that `codes` [n, codes per group] would give
  // groups [n].
  virtual torch::Tensor decode_groups(const torch::Tensor& groups,
                                      const torch::Tensor& codes) const = 0;
  void assign_codes(const torch::Tensor& groups, const torch::Tensor& codes);

  // (d) Every bit that the file will hold.
  double bits() const {
    return bits_per_weight(spec_, out_features_, in_features_) * out_features_ * in_features_;
  }

  // (e) What the file holds, exactly dequantize() after project().
  virtual QuantizedTensor to_format() const = 0;

  // (f) Every implementation searches row-parallel; results do not depend on the number of threads.

 protected:
  Representation(RepresentationSpec spec, int64_t out_features, int64_t in_features)
      : spec_(spec), out_features_(out_features), in_features_(in_features) {}
  RepresentationSpec spec_;
  int64_t out_features_, in_features_;
};

// (e) The other way.
std::unique_ptr<Representation> representation_from_format(const QuantizedTensor& tensor);

}  // namespace bitsmith
