// The refusal to write over a result, as a type of its own: a program adds how to insist.
#pragma once
#include "base/error.h"

namespace bitsmith {

class OutputExists : public UsageError {
 public:
  using UsageError::UsageError;
};

}  // namespace bitsmith
