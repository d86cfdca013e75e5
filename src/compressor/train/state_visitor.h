// One walk over a state, for whoever saves, restores, counts or shards it.
#pragma once
#include <functional>
#include <string>

#include "compressor/torch.h"

namespace bitsmith {

// Called once for each tensor, always in the same order, with a name that no other tensor has.
// `tensor` is undefined where the state has not begun (moments before the first step); the visitor
// may then put one there. It may write into a defined one, and keeps its shape and dtype.
using StateVisitor = std::function<void(const std::string& name, torch::Tensor& tensor)>;

}  // namespace bitsmith
