// LibTorch's threads and memory habits, for callers that see none of its headers.
#pragma once

namespace bitsmith {

void set_torch_threads(int threads);  // once, at the start

// Gives memory that is free, but in pieces, back to the system. Between two stages of one process
// whose tensors have other shapes.
void return_freed_memory();

// For training: every pass allocates the same large tensors anew, and given back to the system
// between two passes their pages cost a tenth of a step. Not for work whose tensors live for
// different times (quantizing block by block): freed memory that is kept is cut into pieces, and
// the next tensor of the same size finds no room in it.
void keep_freed_memory();

}  // namespace bitsmith
