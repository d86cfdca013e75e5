#include "architecture/model_config.h"

#include <algorithm>

#include "architecture/config_reader.h"
#include "architecture/family.h"

namespace bitsmith {

ModelConfig read_model_config(const ModelTexts& texts) {
  ModelConfig config;
  config.json = texts.read_json("config.json");
  config.plan = plan_model(config.json, texts.described("config.json"));
  const char* const generation = "generation_config.json";
  if (!texts.has(generation)) return config;
  auto& ids = config.plan.eos_token_ids;
  for (const int64_t id :
       token_ids(texts.read_json(generation), "eos_token_id", texts.described(generation))) {
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
  return config;
}

}  // namespace bitsmith
