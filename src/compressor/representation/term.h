// One term of a quantized weight matrix: what the compressor knows of a kind
// (format/kinds/kinds.h).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "compressor/objective/objective.h"
#include "compressor/torch.h"
#include "format/quantized_tensor.h"

namespace bitsmith {

struct ContinuousParameter {
  std::string name;     // the part's name in the file: "codebooks", "scales"
  torch::Tensor value;  // float32 leaf; the term reads it at every dequantize()
  // Each number acts on a whole input or output, as a norm's weight does: it moves as those.
  bool of_channels = false;
};

// A matrix [out_features, in_features]. Not thread-safe; const calls may run at the same time.
class Term {
 public:
  virtual ~Term() = default;
  const TermSpec& spec() const { return spec_; }
  int64_t out_features() const { return out_features_; }
  int64_t in_features() const { return in_features_; }

  // Dense float32, differentiable with respect to the continuous parameters.
  virtual torch::Tensor dequantize() const = 0;
  // Continuous parameters, by reference to the live tensors, and their projection onto what the
  // file stores (fp16). Validation and saving always follow project().
  virtual std::vector<ContinuousParameter> continuous_parameters() const = 0;
  virtual void project() = 0;
  // Writes its parts: exactly dequantize() after project().
  virtual void store(const QuantizedTensor& tensor) const = 0;

 protected:
  Term(const TermSpec& spec, int64_t out_features, int64_t in_features)
      : spec_(spec), out_features_(out_features), in_features_(in_features) {}
  TermSpec spec_;
  int64_t out_features_, in_features_;
};

// How terms keep codes of `nbits` bits: uint8 where they fit, else int32. Searches give int32.
torch::Dtype code_dtype(int nbits);

// A term with codes, held code group by code group: code group j of row r covers inputs [j * g,
// (j+1) * g), g = code_group_size(), and has flat index r * (in_features / g) + j. Searches are
// row-parallel; results do not depend on the number of threads.
class CodedTerm : public Term {
 public:
  virtual int64_t code_group_size() const = 0;
  int64_t num_code_groups() const { return out_features_ * (in_features_ / code_group_size()); }
  // [num_code_groups, codes per code group] of the code_dtype() of its longest code, a live tensor:
  // saved and restored by the trainer.
  virtual torch::Tensor codes() const = 0;
  // Best codes for `target` [out, in] by the objective, for the code groups listed ([n] int64 flat
  // indices, ascending; undefined: all), starting from the present codes and with the continuous
  // parameters fixed. With a full Hessian, code groups of a row are visited in turn with their
  // neighbors' present codes (coordinate descent); with a full output factor rows are too, in one
  // thread. The objective never rises; where rows do not meet, that of no row does. Of a target in
  // a separable objective only the code groups listed count. Returns [n, codes per code group]
  // int32; changes nothing.
  virtual torch::Tensor search_codes(const torch::Tensor& target, const Objective& objective,
                                     const torch::Tensor& code_groups) const = 0;
  // Of all codes that differ from `codes` [n, codes per code group] in one place (PV-Tuning,
  // equation 11), those whose values are nearest to `target` [out, in], for the code groups listed
  // as above. Exact: beside the codes of a search among single codes, the second nearest. Where
  // values do not depend on codes (a scale of zero), `codes`. Returns [n, codes per code group]
  // int32; changes nothing.
  virtual torch::Tensor search_neighbors(const torch::Tensor& target, const torch::Tensor& codes,
                                         const torch::Tensor& code_groups) const = 0;
  // Values [n, code_group_size] float32 that `codes` [n, codes per code group] would give code
  // groups [n].
  virtual torch::Tensor decode_code_groups(const torch::Tensor& code_groups,
                                           const torch::Tensor& codes) const = 0;
  void assign_codes(const torch::Tensor& code_groups, const torch::Tensor& codes);

 protected:
  using Term::Term;
};

}  // namespace bitsmith
