// What config.json and generation_config.json say of a model.
#pragma once
#include "architecture/model_plan.h"
#include "base/json.h"
#include "checkpoint/model_texts.h"

namespace bitsmith {

struct ModelConfig {
  Json json;  // config.json
  ModelPlan plan;
};

// Throws Error that names the file.
ModelConfig read_model_config(const ModelTexts& texts);

}  // namespace bitsmith
