// LibTorch's threads and memory habits, for callers that see none of its headers.
#pragma once

namespace bitsmith {

void set_torch_threads(int threads);  // once, at the start

// Gives memory that is free, but in pieces, back to the system. Between two stages of one process
// whose tensors have other shapes, or where the next one needs less.
void return_freed_memory();

// For training: every pass allocates the same large tensors anew, and given back to the system
// between two passes their pages cost a tenth of a step. From then on LibTorch allocates so that
// what a tensor leaves has room for the next one of its size. Not for work whose tensors live for
// different times (quantizing block by block): freed memory that is kept is cut into pieces, and
// those of other sizes find no room in it. To be called while no LibTorch operation runs.
void keep_freed_memory();

}  // namespace bitsmith
