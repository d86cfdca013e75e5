// The kinds of term that a representation is a sum of, in one list. A kind is a struct of sizes,
// its spec, with the members that the concept below names; each has a file pair in this folder.
// Whatever is asked of a spec anywhere is asked by std::visit over the list, so nothing else in
// format/ names a kind. To add one: its file pair, an alternative of TermSpec, and what the
// compiler then finds missing in compressor/representation, compressor/quantize and
// runtime/matrices.
#pragma once
#include <concepts>
#include <cstdlib>
#include <span>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "base/error.h"
#include "format/kinds/additive.h"
#include "format/kinds/e8p.h"
#include "format/kinds/gvq.h"
#include "format/kinds/hadamard.h"
#include "format/kinds/low_rank.h"
#include "format/kinds/rows.h"
#include "format/kinds/sparse.h"
#include "format/kinds/uniform.h"

namespace bitsmith {

template <typename S>
concept Kind = std::equality_comparable<S> &&
    requires(const S& spec, SpecReader& text, const Json& fields, int64_t size,
             const QuantizedTensor& tensor, std::span<float> row, const std::string& source) {
  // How its text begins, and its name in config.json.
  { S::kName } -> std::convertible_to<const char*>;
  // One line for help and errors.
  { S::kGrammar } -> std::convertible_to<const char*>;
  // Whether it has no codes and corrects a term that has (outliers, low rank, rows).
  { S::kCorrects } -> std::convertible_to<bool>;
  // Whether every part runs over the matrix's rows first, so that rows can be
  // quantized slice by slice and the parts of slices concatenate.
  { S::kRowsStandAlone } -> std::convertible_to<bool>;
  // Reads what follows the name. UsageError through `text`.
  { S::parse(text) } -> std::same_as<S>;
  { spec.text() } -> std::same_as<std::string>;
  // The resolved spec's fields, and back. Error names `source`.
  { spec.to_json() } -> std::same_as<OrderedJson>;
  { S::from_json(fields, source) } -> std::same_as<S>;
  // (out_features, in_features) -> every size that `spec` leaves to a rule, filled
  // in. And back: sizes that are as the rule would have them left to it again.
  // UsageError where the sizes do not fit, with those that do.
  { spec.resolved(size, size, source) } -> std::same_as<S>;
  { spec.shortened(size, size) } -> std::same_as<S>;
  // Throws UsageError like resolved(); `source` says whose the sizes are.
  { spec.parts(size, size, source) } -> std::same_as<std::vector<PartLayout>>;
  // Of no codes where it has none.
  { spec.code_layout(size, size) } -> std::same_as<CodeLayout>;
  // UsageError where no sensible codebooks can come of a matrix so small.
  {spec.check_quantizable(size, size)};
  // The fewest rows that a matrix as wide can have.
  { spec.least_rows(size, size) } -> std::same_as<int64_t>;
  // The reference decode of `size` rows from row `size`, and what verify() asks beside
  // finite F16 values.
  {spec.decode_rows(tensor, size, size, row)};
  {spec.check_values(tensor, source)};
};

using TermSpec =
    std::variant<UniformSpec, AdditiveSpec, GvqSpec, E8pSpec, SparseSpec, LowRankSpec, RowsSpec>;

// f(spec) for a term with codes, which is what a sum begins with.
template <typename F>
auto visit_coded(const TermSpec& term, const F& f) {
  return std::visit(
      [&](const auto& spec) -> decltype(f(UniformSpec())) {
        if constexpr (!std::decay_t<decltype(spec)>::kCorrects) {
          return f(spec);
        } else {
          BITSMITH_CHECK(false);
          std::abort();
        }
      },
      term);
}

// What may stand around a sum of terms.
using TransformSpec = HadamardSpec;

// Whether S is one of them.
template <typename S>
constexpr bool kIsKind = []<typename... T>(std::type_identity<std::variant<T...>>) {
  return (std::is_same_v<S, T> || ...);
}(std::type_identity<TermSpec>());

static_assert([]<typename... S>(std::type_identity<std::variant<S...>>) {
  return (Kind<S> && ...);
}(std::type_identity<TermSpec>()));

// Rows that a term keeps in 16 bits, and the term that keeps `count`.
template <Kind S>
constexpr int64_t kept_rows(const S&) {
  return 0;
}
constexpr int64_t kept_rows(const RowsSpec& spec) { return spec.count; }
inline TermSpec kept_rows_term(int64_t count) { return RowsSpec{.count = count}; }

// What --embedding BITS stands for, whose rows stand alone.
inline TermSpec row_term(int bits, int64_t in_features) {
  return UniformSpec::for_rows(bits, in_features);
}

}  // namespace bitsmith
