// Any bytes as a safetensors file: an Error, or tensors whose bytes can all be read.
#include "base/error.h"
#include "checkpoint/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    std::map<std::string, std::string> metadata;
    const auto tensors = bitsmith::parse_safetensors(std::as_bytes(std::span(data, size)),
                                                     "fuzz.safetensors", &metadata);
    for (const bitsmith::TensorView& tensor : tensors) {
      if (!bitsmith::holds_floats(tensor.dtype)) continue;
      std::vector<float> values(static_cast<size_t>(bitsmith::element_count(tensor.shape)));
      bitsmith::decode_to_float(tensor.dtype, tensor.bytes, values);
    }
  } catch (const bitsmith::Error&) {
  }
  return 0;
}
