// The config.json that a GGUF file stands for: what a Hugging Face directory of the same model
// would hold, so that one reading of configurations exists. Keys: gguf-py's constants.py.
#pragma once
#include "architecture/family.h"

namespace bitsmith {

// Throws Error for what the file cannot be: no sizes, unknown rope scaling.
Json config_from_gguf(const GgufKeys& keys, const Family& family);

}  // namespace bitsmith
