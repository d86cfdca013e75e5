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

// Where the codes of part "codes" lie. The matrix is cut into tiles, strips of rows x column
// groups; a row has `count` codes of `nbits` bits in each. The packed codes lie strip by strip; in
// a strip column group by column group; in a tile row by row. With one column group they lie row by
// row.
struct CodeLayout {
  int64_t column_groups;
  int64_t count;      // codes of a row in a column group
  int nbits;          // 1..16
  int64_t tile_rows;  // the last strip may have fewer
};

}  // namespace bitsmith
