// Searches over the code groups of a matrix on the CPU: coordinate descent, which keeps its
// gradient up to date (coordinate_descent.cpp), and one pass with error feedback
// (error_feedback.cpp). What a representation adds is how one code group's best codes are found.
#pragma once
#include <cstdint>

#include "compressor/representation/term.h"
#include "compressor/torch.h"

namespace bitsmith {

// By every objective the cost of giving code group r the values p is p^T B p - 2 linear[r]^T p
// plus what does not depend on p; the sub-Hessian B [g, g] belongs to the code column, linear [g]
// to the code group.
class CodeGroupSearch {
 public:
  virtual ~CodeGroupSearch() = default;
  virtual int64_t code_group_size() const = 0;
  virtual int64_t num_codes() const = 0;
  // Most code columns whose tables are wanted at once (memory); called once, before prepare.
  virtual void reserve_slots(int64_t slots) = 0;
  // Tables of a code column. Different slots may be prepared at the same time.
  virtual void prepare(int64_t slot, const float* sub_hessian) = 0;
  // Replaces codes [count, M], the present ones, by better ones where there are any, for
  // `code_groups` [count] (flat indices) with linear [count, g].
  virtual void search(int64_t slot, int64_t count, const int64_t* code_groups, const float* linear,
                      int32_t* codes) const = 0;
  // values [count, g]
  virtual void decode(int64_t count, const int64_t* code_groups, const int32_t* codes,
                      float* values) const = 0;
};

// Inputs of a sweep panel, whose gradient is kept exact while they are searched; what lies beyond
// gets their changes in one matrix product, as in GPTQ. With a full output factor so many rows at a
// time are searched together here and take turns.
constexpr int64_t kPanelInputs = 128;
constexpr int64_t kRowsInTurn = 32;

// CodedTerm::search_codes by `search`. weight [out, in]: the present dequantized matrix,
// codes: the present codes [num_code_groups, M]. Returns codes [n, M].
torch::Tensor search_code_groups(CodeGroupSearch& search, const torch::Tensor& weight,
                                 const torch::Tensor& codes, const torch::Tensor& target,
                                 const Objective& objective, const torch::Tensor& code_groups);

// One pass with error feedback (GPTQ, with code groups in place of scalars): what a code group's
// best codes leave is spread over the code groups that follow, which later find their codes for
// what they then should be. factor [in, in] float32, upper triangular: H^-1 = U^T U. The pass does
// not start from the present codes, so the objective may rise. Returns codes [num_code_groups, M].
torch::Tensor search_with_feedback(CodeGroupSearch& search, const torch::Tensor& codes,
                                   const torch::Tensor& target, const torch::Tensor& factor);

}  // namespace bitsmith
