#include <cmath>

#include "kernels/additive_layout.h"
#include "kernels/aligned_buffer.h"
#include "runtime/matrices/additive_matrix.h"
#include "runtime/matrices/matrices.h"

namespace bitsmith {
namespace {

class LookupMatrix final : public AdditiveMatrix {
 public:
  LookupMatrix(const QuantizedTensor& tensor, const MatrixArrays& arrays)
      : AdditiveMatrix(tensor, arrays) {
    layout_.num_codebooks = codebooks_.num_codebooks;
    layout_.in_group_size = codebooks_.in_group_size;
    layout_.groups = codebooks_.groups;
    layout_.bundles = divide_up(out_features, kLookupRows);
    layout_.set_groups = kLookupSet / layout_.num_codebooks;
    sets_ = divide_up(layout_.groups, layout_.set_groups);
    sets_per_slice_ = divide_up(sets_, kMaxSlices);
    codes_ = arrays.indices<uint8_t>(
        "lookup1.codes", padded_rows() * layout_.groups * layout_.num_codebooks,
        codebooks_.num_centroids, [&](uint8_t* to) { repack_codes(tensor, to); });
    codebook_step_ = arrays.get<float>(
        "lookup1.codebook_step", 1, [&](float* to) { *to = static_cast<float>(codebook_step()); });
    dot_codebooks_ = arrays.get<int16_t>("lookup1.codebooks",
                                         layout_.num_codebooks * pairs() * kLookupEntries * 2,
                                         [&](int16_t* to) { transpose_codebooks(to); });
    layout_.codes = codes_.data();
    layout_.codebooks = dot_codebooks_.data();
    layout_.codebook_step = codebook_step_[0];
  }

  // Tables and sums are written and read again in each multiply, but inside the caches.
  uint64_t bytes() const override {
    return codes_.bytes() + dot_codebooks_.bytes() + scales_.bytes();
  }
  std::string kernel() const override { return "additive lookup"; }

  void decode_row(int64_t row, float* out) const override {
    AdditiveCodebooks part = codebooks_;  // a table set's groups are a matrix of their own
    for (int64_t set = 0; set < sets_; ++set, out += part.groups * part.in_group_size) {
      part.groups = set_groups(set);
      const LookupPlace place = codes_of(row, set);
      kernels().gather.decode_row(part, codes_.data() + place.first, place.stride, nullptr,
                                  scales_[row], out);
    }
  }

 protected:
  bool multiply_one(const float* x, float* y, ThreadPool& pool) override {
    multiply_few(x, 1, y, pool);
    return true;
  }
  bool multiply_single(const float* x, int64_t tokens, float* y, ThreadPool& pool) override {
    constexpr int64_t kTokens = 8;
    for (int64_t t = 0; t < tokens; t += kTokens)
      multiply_few(x + t * in_features, std::min(kTokens, tokens - t), y + t * out_features, pool);
    return true;
  }

 private:
  // Some rows at a time, so that a slice's sums stay in the second-level cache and those of all
  // slices take 6.3 MB at most. Each time builds the tables anew, which is little beside so many
  // lookups.
  void multiply_few(const float* x, int64_t tokens, float* y, ThreadPool& pool) const {
    constexpr int64_t kSums = 1 << 16;  // of a slice
    const int64_t most = kSums / (tokens * 2 * kLookupRows) * 2;
    const int64_t times = divide_up(layout_.bundles, most);
    const int64_t bundles = divide_up(divide_up(layout_.bundles, times), 2) * 2;
    for (int64_t first = 0; first < layout_.bundles; first += bundles) {
      const RowChunk chunk = {first, std::min(bundles, layout_.bundles - first)};
      multiply_rows(chunk, x, tokens, y, pool);
    }
  }

  // Bundles [first, first + bundles), first even: codes of two bundles lie together.
  struct RowChunk {
    int64_t first, bundles;
    int64_t rows() const { return bundles * kLookupRows; }
  };

  // The codes of a table set come from memory once for all tokens.
  void multiply_rows(RowChunk chunk, const float* x, int64_t tokens, float* y,
                     ThreadPool& pool) const {
    struct SliceSums;
    const int64_t rows = chunk.rows(), first_row = chunk.first * kLookupRows;
    // [slices, tokens, rows]
    float* all_sums = thread_scratch<float, SliceSums>(slices() * tokens * rows);
    // Threads share the inputs, not the rows, so that each keeps the tables it builds to itself.
    pool.run(slices(), [&](int64_t slice) {
      uint8_t* tables = thread_scratch<uint8_t, LookupMatrix>(kLookupSet * kLookupTable);
      float* sums = all_sums + slice * tokens * rows;
      std::fill_n(sums, tokens * rows, 0.0f);
      const int64_t end = std::min((slice + 1) * sets_per_slice_, sets_);
      for (int64_t set = slice * sets_per_slice_; set < end; ++set) {
        const LookupLayout part = layout_of(chunk, set);
        for (int64_t t = 0; t < tokens; ++t) {
          const float step = kernels().lookup.build_tables(part, x + t * in_features, set, tables);
          kernels().lookup.add_lookups(part, set, tables, step, sums + t * rows);
        }
      }
    });
    const int64_t blocks = divide_up(rows, kBlockRows);
    pool.run(tokens * blocks, [&](int64_t i) {
      const int64_t t = i / blocks, row = i % blocks * kBlockRows;
      const int64_t first = first_row + row;
      float total[kBlockRows] = {};
      const int64_t count = std::min({kBlockRows, rows - row, out_features - first});
      for (int64_t slice = 0; slice < slices(); ++slice) {
        const float* sums = all_sums + (slice * tokens + t) * rows + row;
        for (int64_t r = 0; r < count; ++r) total[r] += sums[r];
      }
      float* to = y + t * out_features + first;
      for (int64_t r = 0; r < count; ++r) to[r] = total[r] * scales_[first + r];
    });
  }

  // As if the chunk were all rows. The kernels find a table set behind those before it, which have
  // more rows here.
  LookupLayout layout_of(RowChunk chunk, int64_t set) const {
    const int64_t groups_before = set * layout_.set_groups;
    const int64_t skipped =
        groups_before * (layout_.bundles - chunk.bundles) + set_groups(set) * chunk.first;
    LookupLayout part = layout_;
    part.bundles = chunk.bundles;
    part.codes += skipped * layout_.num_codebooks * kLookupRows;
    return part;
  }

  // Partial sums of this many cuts of the inputs are kept apart: enough for the threads of an
  // ordinary machine, and a fixed number, so that results do not depend on threads.
  static constexpr int64_t kMaxSlices = 24;
  // The sums of all slices are added for so many rows at a time, which threads share.
  static constexpr int64_t kBlockRows = 512;

  static int64_t divide_up(int64_t n, int64_t d) { return (n + d - 1) / d; }
  int64_t slices() const { return divide_up(sets_, sets_per_slice_); }
  int64_t padded_rows() const { return layout_.bundles * kLookupRows; }
  int64_t set_groups(int64_t set) const {
    return std::min(layout_.set_groups, layout_.groups - set * layout_.set_groups);
  }

  LookupPlace codes_of(int64_t row, int64_t set) const {
    const int64_t before = set * layout_.set_groups * layout_.num_codebooks * padded_rows();
    const int64_t lookups = set_groups(set) * layout_.num_codebooks;
    const LookupPlace place = lookup_codes(row, layout_.bundles, lookups);
    return {before + place.first, place.stride};
  }

  void repack_codes(const QuantizedTensor& tensor, uint8_t* to) const {
    for (int64_t row = 0; row < out_features; ++row) {
      const std::vector<uint16_t> codes = row_codes(tensor, row);
      auto next = codes.begin();
      for (int64_t set = 0; set < sets_; ++set) {
        const LookupPlace place = codes_of(row, set);
        for (int64_t k = 0; k < set_groups(set) * layout_.num_codebooks; ++k) {
          to[place.first + k * place.stride] = static_cast<uint8_t>(*next++);
        }
      }
    }
  }

  int64_t pairs() const { return (layout_.in_group_size + 1) / 2; }
  int64_t centroids() const { return layout_.num_codebooks * codebooks_.num_centroids; }

  // What one step of the transposed codebooks' integers is; 0: they are zero.
  double codebook_step() const {
    const int64_t size = layout_.in_group_size;
    double largest = 0;
    for (int64_t c = 0; c < centroids(); ++c) {
      double square = 0;
      for (int64_t i = 0; i < size; ++i) {
        square += std::pow(double{fp16_to_float(centroids_[c * size + i])}, 2);
      }
      largest = std::max(largest, square);
    }
    return std::sqrt(largest) / kLookupNorm;
  }

  // To 16-bit integers in pairs of inputs.
  void transpose_codebooks(int16_t* to) const {
    const int64_t size = layout_.in_group_size;
    const double step = codebook_step();
    if (step == 0) return;
    for (int64_t c = 0; c < centroids(); ++c) {
      const int64_t m = c / codebooks_.num_centroids, e = c % codebooks_.num_centroids;
      for (int64_t i = 0; i < size; ++i) {
        const int64_t pair =
            (m * pairs() + i / 2) * kLookupEntries + lookup_place(kernels().lookup.form, e);
        to[2 * pair + i % 2] = static_cast<int16_t>(
            std::nearbyint(double{fp16_to_float(centroids_[c * size + i])} / step));
      }
    }
  }

  LookupLayout layout_ = {};
  Array<uint8_t> codes_;
  Array<int16_t> dot_codebooks_;  // for building tables
  Array<float> codebook_step_;
  int64_t sets_ = 0, sets_per_slice_ = 1;
};

}  // namespace

std::unique_ptr<WeightMatrix> make_lookup_matrix(const QuantizedTensor& tensor,
                                                 const MatrixArrays& arrays) {
  return std::make_unique<LookupMatrix>(tensor, arrays);
}

}  // namespace bitsmith
