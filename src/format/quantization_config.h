// config.json's "quantization_config" <-> which matrix has which representation. Two forms:
// Hugging Face's "aqlm" (one additive representation for all that is quantized) and "bitsmith"
// (a map from module to representation). docs/format.md.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "checkpoint/model_config.h"
#include "format/representation_spec.h"

namespace bitsmith {

using SpecMap = std::map<std::string, RepresentationSpec>;  // module -> spec

// Every matrix that may be quantized: the blocks' linear layers, model.embed_tokens, and lm_head
// unless it is tied.
std::vector<LinearShape> quantizable_matrices(const ModelConfig& config);

// Empty without a quantization_config. Throws Error for another method, unknown modules, and
// representations that a module cannot have; `source` names the file.
SpecMap parse_quantization_config(const Json& config_json, const ModelConfig& config,
                                  const std::string& source);

// Whether the directory is Hugging Face's AQLM.
bool is_hf_aqlm(const Json& config_json);
// Whether "aqlm" can say it: one additive representation of 8- or 16-bit codes without group
// scales, dense embeddings.
bool fits_hf_aqlm(const SpecMap& specs);

// `dense_tensors`: the names of all tensors that are not parts of quantized matrices.
OrderedJson make_hf_aqlm_config(const SpecMap& specs, const ModelConfig& config,
                                const std::vector<std::string>& dense_tensors);
OrderedJson make_bitsmith_config(const SpecMap& specs);

}  // namespace bitsmith
