// A tokenizer file is untrusted: its steps (Replace, ByteLevel, ...) may each double a text.
#pragma once
#include <cstddef>

#include "base/error.h"

namespace bitsmith {

// No real tokenizer makes more than about 20 bytes of one (compatibility decomposition).
constexpr size_t expansion_limit(size_t input_bytes) { return 64 * input_bytes + 65536; }

inline void check_expansion(size_t bytes, size_t limit) {
  if (bytes > limit)
    throw Error(concat("the tokenizer turns a short text into more than ", limit,
                       " bytes: its normalizer, pre-tokenizer or decoder is broken"));
}

}  // namespace bitsmith
