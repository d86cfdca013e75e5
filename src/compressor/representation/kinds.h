// The compressor's half of each kind (format/kinds/kinds.h): a spec's matrix from its parts.
#pragma once
#include <memory>

#include "compressor/representation/representation.h"

namespace bitsmith {

std::unique_ptr<Representation> make_representation(const UniformSpec& spec,
                                                    const QuantizedTensor& tensor);
std::unique_ptr<Representation> make_representation(const AdditiveSpec& spec,
                                                    const QuantizedTensor& tensor);
std::unique_ptr<Representation> make_representation(const GvqSpec& spec,
                                                    const QuantizedTensor& tensor);

}  // namespace bitsmith
