#include "compressor/tune/student.h"

#include "base/error.h"

namespace bitsmith {

Student::Student(std::unique_ptr<Decoder> decoder) : decoder_(std::move(decoder)) {
  int64_t layer = 0;
  for (const auto& block : decoder_->blocks()) add(*block, layer++, decoder_->dtype());
  if (linears().empty())
    throw Error("this model has no quantised matrix to tune: quantize it first");
}

}  // namespace bitsmith
