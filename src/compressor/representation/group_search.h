// Coordinate descent over code groups on the CPU: threads, blocks of columns, incremental gradient.
// What a representation adds is how one group's best codes are found.
#pragma once
#include <cstdint>

#include "compressor/representation/term.h"
#include "compressor/torch.h"

namespace bitsmith {

// By every objective the cost of giving group r the values p is p^T block p - 2 linear[r]^T p plus
// what does not depend on p; block [g, g] belongs to the column of groups, linear [g] to the group.
class GroupSearch {
 public:
  virtual ~GroupSearch() = default;
  virtual int64_t group_inputs() const = 0;
  virtual int64_t codes_per_group() const = 0;
  // Most columns whose tables are wanted at once (memory); called once, before prepare.
  virtual void reserve_slots(int64_t slots) = 0;
  // Tables of a column of groups. Different slots may be prepared at the same time.
  virtual void prepare(int64_t slot, const float* block) = 0;
  // Replaces codes [count, M], the present ones, by better ones where there are any, for `groups`
  // [count] (flat indices) with linear [count, g].
  virtual void search(int64_t slot, int64_t count, const int64_t* groups, const float* linear,
                      int32_t* codes) const = 0;
  // values [count, g]
  virtual void decode(int64_t count, const int64_t* groups, const int32_t* codes,
                      float* values) const = 0;
};

// Inputs of a matrix whose gradient is kept exact while they are searched; what lies beyond gets
// their changes in one matrix product, as in GPTQ. With a full output factor rows take turns here.
constexpr int64_t kBlockInputs = 128;

// CodedTerm::search_codes by `search`. weight [out, in]: the present dequantized matrix,
// codes: the present codes [num_groups, M]. Returns codes [n, M].
torch::Tensor search_code_groups(GroupSearch& search, const torch::Tensor& weight,
                                 const torch::Tensor& codes, const torch::Tensor& target,
                                 const Objective& objective, const torch::Tensor& groups);

// One pass with error feedback (GPTQ, with groups in place of scalars): what a group's best codes
// leave is spread over the groups that follow, which later find their codes for what they then
// should be. factor [in, in] float32, upper triangular: H^-1 = U^T U. The pass does not start from
// the present codes, so the objective may rise. Returns codes [num_groups, M].
torch::Tensor search_with_feedback(GroupSearch& search, const torch::Tensor& codes,
                                   const torch::Tensor& target, const torch::Tensor& factor);

}  // namespace bitsmith
