// A family of models: how its config.json becomes a ModelPlan, and how the keys of a GGUF file
// become that config.json. One or two of a kind lie in a file of families/; families.cpp lists all.
#pragma once
#include <string>
#include <vector>

#include "architecture/config_reader.h"
#include "architecture/gguf_keys.h"
#include "architecture/model_plan.h"

namespace bitsmith {

struct Family {
  // config.json's model_type, which is unique, and its class in "architectures".
  const char* model_type;
  const char* model_class;
  // GGUF's general.architecture; nullptr: llama.cpp has none.
  const char* gguf_architecture;
  // For people: "Llama 1, 2, 3".
  const char* models;

  // Throws Error for what the family cannot be.
  ModelPlan (*plan)(const ConfigReader& config);
  // What config.json of the same model would say, but for what all families share
  // (gguf_config.cpp); and whether a file of this GGUF architecture is this family's: llama.cpp
  // calls Mistral and Mixtral "llama" too. nullptr: as gguf_architecture says.
  void (*config_from_gguf)(const GgufKeys& keys, Json& config);
  bool (*claims_gguf)(const GgufKeys& keys) = nullptr;
  // Files may leave this out of the names of tensors: "transformer.".
  const char* optional_prefix = "";
  bool partial_rotary = false;  // rope.dimension_count may be less than a head
};

// All families, in the order in which they are asked for a GGUF file.
const std::vector<Family>& families();
// Error with all that are known; `source` names the file.
const Family& family_of_config(const std::string& model_type, const std::string& source);
const Family& family_of_gguf(const GgufKeys& keys);

// The plan of config.json's content.
ModelPlan plan_model(const Json& config, const std::string& source);

}  // namespace bitsmith
