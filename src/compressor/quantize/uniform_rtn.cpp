#include "compressor/quantize/methods.h"
#include "compressor/quantize/uniform_grid.h"
#include "compressor/representation/kinds/uniform.h"

namespace bitsmith {

std::unique_ptr<CodedTerm> round_to_nearest(const torch::Tensor& weight, const UniformSpec& spec,
                                            const QuantizeOptions&) {
  const int64_t size = spec.group_size > 0 ? spec.group_size : weight.size(1);
  const auto groups = weight.reshape({weight.size(0), -1, size});
  const auto grid = best_uniform_grid(groups, {}, spec);
  const auto codes = uniform_codes(groups, grid, spec.nbits).reshape(weight.sizes());
  return std::make_unique<UniformTerm>(spec, grid.scales, grid.zeros, codes);
}

}  // namespace bitsmith
