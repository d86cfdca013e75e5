#include "compressor/model/attention_gradient.h"

#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "kernels/kernel_table.h"

// With S = scale q k^T, P = exp(S - logsumexp) (causal), delta = rowsum(dout * out):
//   dv = P^T dout,  dS = P * (dout v^T - delta) * scale,  dq = dS k,  dk = dS^T q.
// Work is done on the transposes, a block of keys (rows) against all later queries (columns), so
// that P^T and dS^T come out as the products for dv and dk want them. The second factor of a tile
// product is stored in pairs of rows: [rows / 2][columns][2].
namespace bitsmith {
namespace {

using at::BFloat16;
constexpr int64_t kKeys = 64;  // a block of keys; lengths are padded to whole blocks

// out[m, n] (+)= a[m, k] * b, b in pairs of rows.
void multiply(int64_t m, int64_t n, int64_t k, const uint16_t* a, int64_t lda, const uint16_t* b,
              int64_t ldb, bool add, float* out, int64_t ldout) {
  at::native::cpublas::brgemm(m, n, k, lda, ldb, ldout, add, reinterpret_cast<const BFloat16*>(a),
                              reinterpret_cast<const BFloat16*>(b), out);
}

const uint16_t* data(const torch::Tensor& tensor) {
  return static_cast<const uint16_t*>(tensor.const_data_ptr());
}

// A head's [length, dim] out of [batch, length, heads, dim], padded with zero rows.
struct HeadMatrix {
  std::vector<uint16_t> rows;        // [padded, dim]
  std::vector<uint16_t> row_pairs;   // the same as a second factor: [padded / 2][dim][2]
  std::vector<uint16_t> transposed;  // its transpose as a second factor: [dim / 2][padded][2]

  HeadMatrix(const torch::Tensor& tensor, int64_t batch, int64_t head, int64_t padded) {
    const int64_t length = tensor.size(1), heads = tensor.size(2), dim = tensor.size(3);
    rows.resize(padded * dim);
    const uint16_t* source = data(tensor) + (batch * length * heads + head) * dim;
    for (int64_t i = 0; i < length; ++i)
      std::copy_n(source + i * heads * dim, dim, rows.begin() + i * dim);
  }
  void make_row_pairs(int64_t padded, int64_t dim) {
    row_pairs.resize(rows.size());
    for (int64_t i = 0; i < padded; i += 2)
      kernels().attention_backward.interleave(&rows[i * dim], &rows[(i + 1) * dim], dim,
                                              &row_pairs[i * dim]);
  }
  void make_transposed(int64_t padded, int64_t dim) {
    transposed.resize(rows.size());
    for (int64_t i = 0; i < padded; ++i) {
      for (int64_t d = 0; d < dim; ++d)
        transposed[(d / 2 * padded + i) * 2 + d % 2] = rows[i * dim + d];
    }
  }
};

void store_head(const std::vector<float>& values, bool is_transposed, int64_t padded,
                torch::Tensor& tensor, int64_t batch, int64_t head) {
  const int64_t length = tensor.size(1), heads = tensor.size(2), dim = tensor.size(3);
  auto* target = static_cast<BFloat16*>(tensor.data_ptr()) + (batch * length * heads + head) * dim;
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t d = 0; d < dim; ++d)
      target[i * heads * dim + d] =
          static_cast<BFloat16>(is_transposed ? values[d * padded + i] : values[i * dim + d]);
  }
}

}  // namespace

AttentionGradients causal_attention_gradients(const torch::Tensor& q, const torch::Tensor& k,
                                              const torch::Tensor& v, const torch::Tensor& out,
                                              const torch::Tensor& logsumexp,
                                              const torch::Tensor& dout) {
  const int64_t batches = q.size(0), length = q.size(1), heads = q.size(2), dim = q.size(3);
  const int64_t kv_heads = k.size(2), repeats = heads / kv_heads;
  const int64_t padded = (length + kKeys - 1) / kKeys * kKeys;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  BITSMITH_CHECK(dim % 32 == 0 && logsumexp.sizes() == (std::vector{batches, heads, length}));
  const torch::Tensor delta = (dout.to(torch::kFloat32) * out.to(torch::kFloat32))
                                  .sum(-1)
                                  .transpose(1, 2)
                                  .contiguous();  // [batch, heads, length]
  const torch::Tensor lse = logsumexp.contiguous();
  AttentionGradients gradients = {torch::empty_like(q), torch::empty_like(k), torch::empty_like(v)};

  at::parallel_for(0, batches * kv_heads, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scores(kKeys * padded), dscores(kKeys * padded);  // [keys, queries]
    std::vector<uint16_t> p(kKeys * padded), ds(kKeys * padded), ds_pairs(kKeys * padded);
    std::vector<uint16_t> keys_transposed(dim * kKeys);
    std::vector<float> row_lse(padded), row_delta(padded);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t batch = task / kv_heads, kv_head = task % kv_heads;
      const HeadMatrix keys(k, batch, kv_head, padded), values(v, batch, kv_head, padded);
      std::vector<float> dk(padded * dim), dv(padded * dim);
      for (int64_t head = kv_head * repeats; head < (kv_head + 1) * repeats; ++head) {
        HeadMatrix queries(q, batch, head, padded), dqueries(dout, batch, head, padded);
        for (HeadMatrix* matrix : {&queries, &dqueries}) {
          matrix->make_row_pairs(padded, dim);
          matrix->make_transposed(padded, dim);
        }
        // Padding: exp(S - inf) = 0.
        const int64_t offset = (batch * heads + head) * length;
        std::fill(row_lse.begin(), row_lse.end(), std::numeric_limits<float>::infinity());
        std::copy_n(lse.const_data_ptr<float>() + offset, length, row_lse.begin());
        std::copy_n(delta.const_data_ptr<float>() + offset, length, row_delta.begin());
        std::vector<float> dq_transposed(dim * padded);
        for (int64_t first = 0; first < padded; first += kKeys) {
          const int64_t count = padded - first;  // queries from `first` on see this block
          multiply(kKeys, count, dim, &keys.rows[first * dim], dim, &queries.transposed[first * 2],
                   padded, false, scores.data(), count);
          multiply(kKeys, count, dim, &values.rows[first * dim], dim,
                   &dqueries.transposed[first * 2], padded, false, dscores.data(), count);
          kernels().attention_backward.tile({.scores = scores.data(),
                                             .dp = dscores.data(),
                                             .lse = &row_lse[first],
                                             .delta = &row_delta[first],
                                             .scale = scale,
                                             .keys = kKeys,
                                             .queries = count,
                                             .p = p.data(),
                                             .ds = ds.data(),
                                             .ds_pairs = ds_pairs.data()});
          multiply(kKeys, dim, count, p.data(), count, &dqueries.row_pairs[first * dim], dim, true,
                   &dv[first * dim], dim);
          multiply(kKeys, dim, count, ds.data(), count, &queries.row_pairs[first * dim], dim, true,
                   &dk[first * dim], dim);
          for (int64_t i = 0; i < kKeys; ++i) {
            for (int64_t d = 0; d < dim; ++d)
              keys_transposed[d * kKeys + i] = keys.rows[(first + i) * dim + d];
          }
          multiply(dim, count, kKeys, keys_transposed.data(), kKeys, ds_pairs.data(), count, true,
                   &dq_transposed[first], padded);
        }
        store_head(dq_transposed, true, padded, gradients.q, batch, head);
      }
      store_head(dk, false, padded, gradients.k, batch, kv_head);
      store_head(dv, false, padded, gradients.v, batch, kv_head);
    }
    at::native::cpublas::brgemm_release();
  });
  return gradients;
}

}  // namespace bitsmith
