// The stored arrays of a quantized matrix: their names, types and shapes, and where codes lie in
// them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/tensor_view.h"

namespace bitsmith {

// One stored array of a quantized matrix, kept in the file as tensor "MODULE.NAME".
struct PartLayout {
  std::string name;  // "codes", "codebooks", "scales", "zeros", ...
  DType dtype;
  std::vector<int64_t> shape;
};

// Where the codes of part "codes" lie. The rows of the matrix are cut into strips, and each row
// into pieces of `count` codes of `nbits` bits. The packed pieces lie strip by strip; in a strip
// piece by piece; for each piece row by row. A layout of one piece lies row by row.
struct CodeLayout {
  int64_t pieces;      // of a row
  int64_t count;       // codes of a piece
  int nbits;           // 1..16
  int64_t strip_rows;  // rows of a strip; the last one may be shorter
};

}  // namespace bitsmith
