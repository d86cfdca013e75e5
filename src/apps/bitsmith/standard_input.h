// Standard input that a person types, with Ctrl-C.
#pragma once
#include <sys/types.h>

#include <cstddef>

namespace bitsmith {

// As read(2) of standard input, but fails with EINTR wherever a signal raises interrupt_flag():
// also one that came just before the call, or that another thread took.
ssize_t read_standard_input(char* buffer, size_t size);

}  // namespace bitsmith
