#include "checkpoint/tensor_source.h"

#include <algorithm>
#include <cmath>

#include "base/half.h"

namespace bitsmith {
namespace {

// The values of a piece as float, in blocks that stay in the cache.
void for_each_block(DType dtype, std::span<const std::byte> piece,
                    const std::function<void(std::span<const float>)>& visit) {
  constexpr size_t kBlock = 1 << 14;
  const auto value_bytes = static_cast<size_t>(block_layout(dtype).bytes);
  const size_t values = piece.size() / value_bytes;
  std::vector<float> block(std::min(values, kBlock));
  for (size_t first = 0; first < values; first += kBlock) {
    const auto out = std::span(block).first(std::min(kBlock, values - first));
    decode_to_float(dtype, piece.subspan(first * value_bytes, out.size() * value_bytes), out);
    visit(out);
  }
}

}  // namespace

TensorSource::TensorSource(const TensorView& view)
    : TensorSource(view.name, view.dtype, view.shape,
                   [bytes = view.bytes](const ByteSink& sink) { sink(bytes); }) {}

bool fits_fp16(const TensorSource& source) {
  if (source.dtype == DType::F16) return true;
  bool fits = true;
  source.write([&](std::span<const std::byte> piece) {
    for_each_block(source.dtype, piece, [&](std::span<const float> values) {
      for (const float value : values)
        fits =
            fits && (!std::isfinite(value) || std::isfinite(fp16_to_float(float_to_fp16(value))));
    });
  });
  return fits;
}

TensorSource as_fp16(const TensorSource& source) {
  if (source.dtype == DType::F16) return source;
  const auto write = [dtype = source.dtype, write = source.write](const ByteSink& sink) {
    std::vector<uint16_t> halves;
    write([&](std::span<const std::byte> piece) {
      for_each_block(dtype, piece, [&](std::span<const float> values) {
        halves.resize(values.size());
        std::transform(values.begin(), values.end(), halves.begin(), float_to_fp16);
        sink(std::as_bytes(std::span(halves)));
      });
    });
  };
  return {source.name, DType::F16, source.shape, write};
}

}  // namespace bitsmith
