// The kernel over an instruction set's registers I; included once by each set's file, everything in
// an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include <cstddef>

#include "kernels/attention.h"
#include "kernels/vector_math_impl.h"

namespace bitsmith {
namespace {

// T: float, uint16_t for float16, or int8_t with a scale for each position.
template <typename I, typename T>
class Attention {
 public:
  static void attend(const AttentionCall& call) {
    for (int64_t i = 0; i < call.count;) {
      const AttentionQuery* queries = call.queries + i;
      const int64_t left = call.count - i;
      if (left == 1) {
        attend_few<1>(call, queries, 1);
        i += 1;
      } else if (left <= 4) {
        attend_few<4>(call, queries, static_cast<int>(left));
        i += left;
      } else {
        const int count = static_cast<int>(left < 8 ? left : 8);
        attend_few<8>(call, queries, count);
        i += count;
      }
    }
  }

 private:
  using Floats = typename I::Floats;
  static constexpr int kLanes = I::kLanes;
  static constexpr int64_t kBlock = kAttentionBlock;

  static Floats load(const float* p) { return I::load(p); }
  static Floats load(const uint16_t* p) { return I::load_fp16(p); }
  static Floats load(const int8_t* p) { return I::load_int8(p); }
  static Floats minus_infinity() { return I::broadcast(-__builtin_inff()); }

  static constexpr int64_t kScale = sizeof(T) == 1 ? sizeof(float) : 0;  // bytes a position

  // The page of position p.
  static const T* keys_at(const AttentionCall& call, int64_t p) {
    const int64_t bytes = kBlock * (call.head_dim * static_cast<int64_t>(sizeof(T)) + kScale);
    return reinterpret_cast<const T*>(call.keys + call.pages[p / kBlock] * bytes);
  }
  static const T* values_at(const AttentionCall& call, int64_t p) {
    const int64_t bytes =
        kBlock * (call.padded_head_dim * static_cast<int64_t>(sizeof(T)) + kScale);
    return reinterpret_cast<const T*>(call.values + call.pages[p / kBlock] * bytes);
  }
  // The scales of positions p, p + 1, ..., behind the numbers of their page.
  static Floats scales(const T* page, int64_t dims, int64_t p) {
    return I::load(reinterpret_cast<const float*>(page + kBlock * dims) + p % kBlock);
  }

  // N queries at a time share every key and value that is loaded.
  template <int N>
  static void attend_few(const AttentionCall& call, const AttentionQuery* queries, int count) {
    const AttentionQuery* query[N];
    int64_t first = queries[0].first, end = queries[0].end;
    for (int i = 0; i < N; ++i) {  // spare places repeat the last query
      query[i] = &queries[i < count ? i : count - 1];
      first = query[i]->first < first ? query[i]->first : first;
      end = query[i]->end > end ? query[i]->end : end;
    }
    first = first / kLanes * kLanes;
    const int64_t row = (end - first + kLanes - 1) / kLanes * kLanes;  // scores of one query
    float* scores = call.scratch;                                      // [N, row]

    Floats largest[N];
    for (int i = 0; i < N; ++i) largest[i] = minus_infinity();
    for (int64_t p = first; p < end; p += kLanes) {
      const T* page = keys_at(call, p);
      const T* key = page + p % kBlock;
      Floats sum[N];
      for (int i = 0; i < N; ++i) sum[i] = I::zeros();
      for (int64_t d = 0; d < call.head_dim; ++d) {
        const Floats k = load(key + d * kBlock);
        for (int i = 0; i < N; ++i) {
          sum[i] = I::multiply_add(k, I::broadcast(query[i]->q[d]), sum[i]);
        }
      }
      for (int i = 0; i < N; ++i) {
        Floats s = sum[i];
        if constexpr (kScale > 0) s = s * scales(page, call.head_dim, p);
        if (p < query[i]->first || p + kLanes > query[i]->end) s = masked(s, p, *query[i]);
        largest[i] = I::max(s, largest[i]);
        I::store(scores + i * row + p - first, s);
      }
    }
    for (int i = 0; i < N; ++i) {
      if (call.soft_cap != 0 || query[i]->alibi_slope != 0) {
        largest[i] = adjust(*query[i], call.soft_cap, first, row, scores + i * row);
      }
    }

    float total[N];
    for (int i = 0; i < N; ++i) {
      const Floats maximum = I::broadcast(I::max_lane(largest[i]));
      Floats sum = I::zeros();
      for (int64_t p = 0; p < row; p += kLanes) {
        const Floats e = exp<I>(I::load(scores + i * row + p) - maximum);
        sum += e;
        I::store(scores + i * row + p, e);
      }
      total[i] = I::sum_lanes(sum);
      if constexpr (kScale > 0) {
        for (int64_t p = 0; p < row; p += kLanes) {
          float* weights = scores + i * row + p;
          const Floats scale = scales(values_at(call, first + p), call.padded_head_dim, first + p);
          I::store(weights, I::load(weights) * scale);
        }
      }
    }

    // Values in tiles of positions that stay in the first-level cache, a register of dimensions at
    // a time.
    constexpr int64_t kTile = 64;
    float* out = scores + N * row;  // [N, padded_head_dim]
    __builtin_memset(out, 0, sizeof(float) * static_cast<size_t>(N * call.padded_head_dim));
    for (int64_t tile = first; tile < end; tile += kTile) {
      const int64_t tile_end = tile + kTile < end ? tile + kTile : end;
      for (int64_t d = 0; d < call.padded_head_dim; d += kLanes) {
        Floats sum[N];
        for (int i = 0; i < N; ++i) sum[i] = I::load(out + i * call.padded_head_dim + d);
        for (int64_t p = tile; p < tile_end;) {
          const T* value = values_at(call, p) + p % kBlock * call.padded_head_dim + d;
          const int64_t page_end = (p / kBlock + 1) * kBlock;
          for (const int64_t stop = page_end < tile_end ? page_end : tile_end; p < stop; ++p) {
            const Floats v = load(value);
            const float* weight = scores + p - first;
            for (int i = 0; i < N; ++i) {
              sum[i] = I::multiply_add(v, I::broadcast(weight[i * row]), sum[i]);
            }
            value += call.padded_head_dim;
          }
        }
        for (int i = 0; i < N; ++i) I::store(out + i * call.padded_head_dim + d, sum[i]);
      }
    }
    for (int i = 0; i < count; ++i) {
      for (int64_t d = 0; d < call.head_dim; ++d)
        query[i]->out[d] = out[i * call.padded_head_dim + d] / total[i];
    }
  }

  // The scores of positions p, p + 1, ...: minus infinity where the query does not look.
  static Floats masked(Floats scores, int64_t p, const AttentionQuery& query) {
    const auto position = I::add(I::lane_index(), I::broadcast(static_cast<int32_t>(p)));
    const auto first = I::broadcast(static_cast<int32_t>(query.first));
    const auto end = I::broadcast(static_cast<int32_t>(query.end));
    const Floats seen = I::select(I::less(position, end), scores, minus_infinity());
    return I::select(I::less(position, first), minus_infinity(), seen);
  }

  // Soft cap and ALiBi of the scores of positions from `first` on; returns the largest of each
  // lane. What is masked stays masked.
  static __attribute__((noinline)) Floats adjust(const AttentionQuery& query, float soft_cap,
                                                 int64_t first, int64_t row, float* scores) {
    const Floats cap = I::broadcast(soft_cap), slope = I::broadcast(query.alibi_slope);
    const Floats inverse = I::broadcast(1 / (soft_cap != 0 ? soft_cap : 1.0f));
    float index[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) index[lane] = static_cast<float>(lane);
    const Floats lanes = I::load(index);
    Floats largest = minus_infinity();
    for (int64_t p = 0; p < row; p += kLanes) {
      const Floats score = I::load(scores + p);
      Floats s = soft_cap != 0 ? cap * tanh<I>(score * inverse) : score;
      const float distance = static_cast<float>(first + p - (query.end - 1));
      s = s + slope * (lanes + I::broadcast(distance));
      s = I::select(I::less(minus_infinity(), score), s, score);
      largest = I::max(s, largest);
      I::store(scores + p, s);
    }
    return largest;
  }
};

template <typename I>
void attend(const AttentionCall& call) {
  switch (call.type) {
    case KvType::kFloat16:
      return Attention<I, uint16_t>::attend(call);
    case KvType::kFloat32:
      return Attention<I, float>::attend(call);
    case KvType::kInt8:
      return Attention<I, int8_t>::attend(call);
  }
}

template <typename I>
AttentionKernels make_attention() {
  return {attend<I>};
}

}  // namespace
}  // namespace bitsmith
