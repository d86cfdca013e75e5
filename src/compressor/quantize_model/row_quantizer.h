// Embedding and head: nearest codes in slices of rows, so that the largest matrix of a model never
// exists in float32 as a whole.
#pragma once
#include "compressor/quantize_model/quantization_plan.h"
#include "compressor/quantize_model/quantized_modules.h"

namespace bitsmith {

// Adds matrix and summary (the error relative to the squared norm) to `modules`. The representation
// is one whose rows stand alone (rows_stand_alone()).
void quantize_rows(const ModelFiles& files, const PlannedMatrix& matrix, QuantizedModules& modules);

}  // namespace bitsmith
