// Hugging Face's "aqlm" form of config.json's "quantization_config": one additive representation
// for all that is quantized. docs/format.md.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "architecture/model_plan.h"
#include "base/json.h"
#include "format/quantized_tensor.h"
#include "format/representation_spec.h"

namespace bitsmith {

using SpecMap = std::map<std::string, RepresentationSpec>;  // module -> spec

// Whether the directory is Hugging Face's AQLM.
bool is_hf_aqlm(const Json& config_json);
// `linears`: every matrix that an nn.Linear of the model holds. Throws Error naming `source`.
SpecMap parse_hf_aqlm(const Json& quantization, const std::vector<LinearPlan>& linears,
                      const std::string& source);

// Whether "aqlm" can say it: one additive representation of 8- or 16-bit codes without group
// scales.
bool fits_hf_aqlm(const SpecMap& specs);
// `dense_tensors`: the names of all tensors that are not parts of quantized matrices.
OrderedJson make_hf_aqlm_config(const SpecMap& specs, const std::vector<LinearPlan>& linears,
                                const std::vector<std::string>& dense_tensors);

// Hugging Face's AQLM keeps codes of B bits as int8 (B up to 8) or int16, c >= 2^(B-1) as c - 2^B;
// where that is not the packed row already, `codes` is replaced by it. Throws Error naming `module`
// where the codes are not as wide.
void pack_hf_codes(QuantizedTensor& tensor, const std::string& module);

}  // namespace bitsmith
