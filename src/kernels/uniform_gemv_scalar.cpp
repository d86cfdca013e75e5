#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "kernels/uniform_gemv.h"
#include "kernels/uniform_layout.h"

namespace bitsmith {
namespace {

void quantize(const float* x, int64_t in_features, int chunk, const QuantizedInput& out) {
  for (int64_t first = 0, unit = 0; first < in_features; first += kUniformUnit, ++unit) {
    const int64_t count = std::min(kUniformUnit, in_features - first);
    float largest = 0;
    for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(x[first + i]));
    const float scale = largest / 127, inverse = largest > 0 ? 127 / largest : 0;
    out.scales[unit] = scale;
    for (int64_t i = 0; i < kUniformUnit; ++i) {
      out.codes[first + i] =
          i < count ? static_cast<int8_t>(std::nearbyint(x[first + i] * inverse)) : int8_t{0};
    }
    for (int64_t i = 0; i < kUniformUnit; i += chunk) {
      int32_t sum = 0;
      for (int64_t k = i; k < i + chunk; ++k) sum += out.codes[first + k];
      out.sums[(first + i) / chunk] = sum;
    }
  }
}

void gemv(const UniformBundles& w, int64_t first, int64_t count, const QuantizedInput& x,
          float* y) {
  for (int64_t bundle = first; bundle < first + count; ++bundle) {
    float sum[kUniformRows] = {};
    for (int64_t i = 0; i < w.in_features; i += w.chunk) {
      const int64_t unit = i / kUniformUnit, group = i / w.group_size;
      const uint8_t* codes = w.codes + (bundle * w.units + unit) * w.nbits * kUniformField;
      for (int64_t r = 0; r < kUniformRows; ++r) {
        const int64_t at = (bundle * w.groups + group) * kUniformRows + r;
        int32_t dot = -(w.zeros ? w.zeros[at] : w.zero) * x.sums[i / w.chunk];
        for (int64_t k = i; k < i + w.chunk; ++k) {
          dot += load_code(codes, w.nbits, r, k % kUniformUnit) * x.codes[k];
        }
        sum[r] += fp16_to_float(w.scales[at]) * x.scales[unit] * static_cast<float>(dot);
      }
    }
    std::copy_n(sum, kUniformRows, y + (bundle - first) * kUniformRows);
  }
}

void decode_bundle(const UniformBundles& w, int64_t bundle, float* panel, int64_t stride) {
  for (int64_t i = 0; i < w.in_features; ++i) {
    const uint8_t* unit = w.codes + (bundle * w.units + i / kUniformUnit) * w.nbits * kUniformField;
    for (int64_t r = 0; r < kUniformRows; ++r) {
      const int64_t at = (bundle * w.groups + i / w.group_size) * kUniformRows + r;
      const int code = load_code(unit, w.nbits, r, i % kUniformUnit);
      const int zero = w.zeros ? w.zeros[at] : w.zero;
      panel[i * stride + r] = fp16_to_float(w.scales[at]) * static_cast<float>(code - zero);
    }
  }
}

void decode_int8(const UniformBundles& w, int64_t bundle, int64_t first, const Int8Panel& panel,
                 int64_t row) {
  for (int64_t i = 0; i < panel.inputs; ++i) {
    const int64_t unit = (first + i) / kUniformUnit;
    const int64_t group = std::min((first + i) / w.group_size, w.groups - 1);
    const uint8_t* codes = w.codes + (bundle * w.units + unit) * w.nbits * kUniformField;
    for (int64_t r = 0; r < kUniformRows; ++r) {
      const int64_t at = (bundle * w.groups + group) * kUniformRows + r;
      const int zero = w.zeros ? w.zeros[at] : w.zero;
      panel.codes[(i / 4 * kInt8Rows + row + r) * 4 + i % 4] =
          static_cast<int8_t>(load_code(codes, w.nbits, r, i % kUniformUnit) - zero);
      panel.scales[i / w.chunk * kInt8Rows + row + r] = fp16_to_float(w.scales[at]);
    }
  }
}

}  // namespace

void fill_scalar(UniformGemvKernels& kernels) {
  kernels = {quantize, gemv, decode_bundle, decode_int8};
}

}  // namespace bitsmith
