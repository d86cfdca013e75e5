// The control tokens of a model.
#pragma once
#include <cstdint>
#include <vector>

#include "architecture/checkpoint.h"

namespace bitsmith {

// Ids that are rows of the model's embedding, ascending; none for a model that came without a
// tokenizer. Reads the tokenizer, which takes up to a second.
std::vector<int64_t> special_tokens(const Checkpoint& model);

}  // namespace bitsmith
