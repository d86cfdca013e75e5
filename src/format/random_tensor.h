// Quantized matrices of random parts, for measurements without a model and for tests.
#pragma once
#include "base/random.h"
#include "format/quantized_tensor.h"

namespace bitsmith {

// A matrix that verify() accepts: fp16 values normal with this deviation; codes, signs and int8
// values over their whole range; places of outliers as a file has them.
QuantizedTensor random_tensor(const RepresentationSpec& spec, int64_t out_features,
                              int64_t in_features, Random& random, double deviation = 0.1);

}  // namespace bitsmith
