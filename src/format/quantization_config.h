// config.json's "quantization_config" <-> which matrix has which representation. Two forms:
// Hugging Face's "aqlm" (kinds/hf_aqlm.h) and "bitsmith" (resolved specs, each with its modules).
// docs/format.md.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "architecture/model_plan.h"
#include "base/json.h"
#include "format/kinds/hf_aqlm.h"
#include "format/representation_spec.h"

namespace bitsmith {

// Resolved specs. Empty without a quantization_config. Throws Error for another method, unknown
// modules, and representations that a module cannot have; `source` names the file.
SpecMap parse_quantization_config(const Json& config_json, const ModelPlan& plan,
                                  const std::string& source);

// How many matrices have which representation, by its short_name().
std::map<std::string, int64_t> representation_counts(const SpecMap& specs, const ModelPlan& plan);

// The form in which `specs` are written: Hugging Face's where it can hold them (dense embeddings,
// and fits_hf_aqlm()), else Bitsmith's. `dense_tensors`: the names of all tensors that are not
// parts of quantized matrices.
bool fits_hugging_face(const SpecMap& specs, const ModelPlan& plan);
OrderedJson make_hugging_face_config(const SpecMap& specs, const ModelPlan& plan,
                                     const std::vector<std::string>& dense_tensors);
OrderedJson make_bitsmith_config(const SpecMap& specs, const ModelPlan& plan);

}  // namespace bitsmith
