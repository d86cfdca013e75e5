// LibTorch's threads and memory habits, for callers that see none of its headers. Once, at the
// start.
#pragma once

namespace bitsmith {

// First thing in main(), for a command that may use LibTorch. LibTorch's threads wait by spinning
// for milliseconds, which costs a busy machine most of its speed. How long they spin is in the
// environment when the program is loaded: unless the user has set OMP_WAIT_POLICY or
// GOMP_SPINCOUNT, this sets GOMP_SPINCOUNT to some tens of microseconds and executes the program
// anew with the same arguments. Where that is not possible, nothing happens.
void set_torch_environment(char** argv);
void set_torch_threads(int threads);

// For training: every pass allocates the same large tensors anew, and given back to the system
// between two passes their pages cost a tenth of a step. Not for work whose tensors live for
// different times (quantizing block by block): freed memory that is kept is cut into pieces, and
// the next tensor of the same size finds no room in it.
void keep_freed_memory();

}  // namespace bitsmith
