// Any bytes as a GGUF file: an Error, or tensors that can be decoded; then the same file as a whole
// model, with its keys turned into a configuration.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

#include "architecture/checkpoint.h"
#include "base/error.h"
#include "checkpoint/gguf.h"

namespace {

void decode_first_block(const bitsmith::TensorView& tensor) {
  const bitsmith::BlockLayout layout = bitsmith::block_layout(tensor.dtype);
  if (tensor.bytes.empty() || !bitsmith::holds_floats(tensor.dtype)) return;
  std::vector<float> values(static_cast<size_t>(layout.elements));
  bitsmith::decode_to_float(tensor.dtype, tensor.bytes, values);
}

void open_as_model(const uint8_t* data, size_t size) {
  const int fd = memfd_create("fuzz.gguf", 0);
  if (fd < 0 || write(fd, data, size) != static_cast<ssize_t>(size)) abort();
  try {
    const auto checkpoint = bitsmith::Checkpoint::open(bitsmith::concat("/proc/self/fd/", fd));
    for (const auto& tensor : checkpoint->tensors()) {
      if (bitsmith::holds_floats(tensor.dtype)) checkpoint->read(tensor.name);
    }
    bitsmith::check_dense(*checkpoint);
  } catch (const bitsmith::Error&) {
  }
  close(fd);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto gguf = bitsmith::parse_gguf(std::as_bytes(std::span(data, size)), "fuzz.gguf");
    for (const bitsmith::TensorView& tensor : gguf.tensors) decode_first_block(tensor);
    open_as_model(data, size);  // only what parses: the rest ends the same way
  } catch (const bitsmith::Error&) {
  }
  return 0;
}
