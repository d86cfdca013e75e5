#include "compressor/objective/row_products.h"

namespace bitsmith {

torch::Tensor row_chunked_matmul(const torch::Tensor& a, const torch::Tensor& b) {
  auto product = torch::empty({a.size(0), b.size(1)}, a.options());
  each_row_chunk(a.size(0), [&](int64_t begin, int64_t count) {
    auto part = product.narrow(0, begin, count);
    at::mm_out(part, a.narrow(0, begin, count), b);
  });
  return product;
}

void row_chunked_subtract(const torch::Tensor& a, const torch::Tensor& b, const torch::Tensor& y) {
  each_row_chunk(a.size(0), [&](int64_t begin, int64_t count) {
    y.narrow(0, begin, count).addmm_(a.narrow(0, begin, count), b, 1, -1);
  });
}

}  // namespace bitsmith
