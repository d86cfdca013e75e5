// The KL of a student on a few held-out windows while one of its blocks after another changes:
// blocks before the one that changes do not run again.
#pragma once
#include "compressor/model/decoder.h"

namespace bitsmith {

class HeldOutKl {
 public:
  // windows [n, length] int64, so many at a time. Runs the teacher once. Both decoders outlive
  // this.
  HeldOutKl(Decoder& student, Decoder& teacher, const torch::Tensor& windows,
            int64_t micro_windows);

  // Mean KL(teacher || student), nats a token, of the student as it is now. Block numbers never
  // fall from one call to the next: what is before `block` must stay as it is from then on.
  double from_block(int64_t block);

 private:
  // task(first, count) for the windows, a micro-batch at a time.
  template <typename Task>
  void each_micro_batch(const Task& task) const;

  Decoder& student_;
  Decoder& teacher_;
  int64_t micro_windows_;
  RotaryTables rotary_;
  int64_t block_ = 0;
  torch::Tensor inputs_;   // of block_, [n, length, hidden]
  torch::Tensor targets_;  // the teacher's final hidden states [n, length, hidden]
};

}  // namespace bitsmith
