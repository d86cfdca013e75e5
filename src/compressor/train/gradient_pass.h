// The forward and backward passes of a training step.
#pragma once
#include "compressor/model/decoder.h"
#include "compressor/torch.h"
#include "compressor/train/tuned_blocks.h"

namespace bitsmith {

// Mean KL(teacher || student) over `windows` [n, length] int64 token ids, nats a token, in
// micro-batches of `micro_windows`. `tuned` are the student's blocks; their gradients are those of
// this mean afterwards. Both decoders have one dtype.
double gradient_pass(TunedBlocks& tuned, Decoder& student, Decoder& teacher,
                     const torch::Tensor& windows, int64_t micro_windows);

}  // namespace bitsmith
