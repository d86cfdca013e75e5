// A quantized matrix that is put together of slices of its rows.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "format/quantized_tensor.h"

namespace bitsmith {

class SlicedTensor {
 public:
  // Of a representation whose rows stand alone (rows_stand_alone()), or of one slice.
  SlicedTensor(const RepresentationSpec& spec, int64_t rows, int64_t columns);

  // The next slice, which begins at row `first`. Every part runs over rows first, and a row's codes
  // begin on a byte: parts concatenate.
  void append(const QuantizedTensor& slice, int64_t first);
  // All rows must be there.
  QuantizedTensor take();

 private:
  QuantizedTensor whole_;
  std::map<std::string, size_t> filled_;  // bytes of each part
};

}  // namespace bitsmith
