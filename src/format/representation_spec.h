// What a representation's text says: "int4g64", "int2g32-z", "aq2x8g8", "had:gvq2d2b+lr8".
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "format/kinds/kinds.h"
#include "format/part_layout.h"

namespace bitsmith {

// A matrix is the sum of terms, each a kind and its sizes. The first one has codes; the others
// correct it, each kind at most once ("int3g64+out0.5%+lr8"). The sum may stand inside a transform
// ("had:int3g64"): then terms, codes and whatever is fitted to them live in its space. A resolved
// spec has every size that its matrix needs; as it is asked for, a spec may leave some to a rule
// ("gvq2d2b": how many weights share a codebook). Files hold resolved specs, so that a change of
// the rules changes no file.
struct RepresentationSpec {
  std::vector<TermSpec> terms;
  std::optional<TransformSpec> transform;

  RepresentationSpec() : terms(1) {}
  template <typename S>
  requires kIsKind<S> RepresentationSpec(const S& term) : terms{term} {}
  explicit RepresentationSpec(std::vector<TermSpec> all,
                              std::optional<TransformSpec> around = std::nullopt)
      : terms(std::move(all)), transform(around) {}
  bool operator==(const RepresentationSpec&) const = default;
};

// Throws UsageError that says what the grammar is and which value is out of range. The spellings of
// format version 1 are understood too (aq..-sS, gvq..-gC).
RepresentationSpec parse_representation(const std::string& text);
std::string to_string(const RepresentationSpec& spec);
// The name of a resolved spec as a user would have asked for it: sizes that the rules would give
// are left out.
std::string short_name(const RepresentationSpec& spec, int64_t out_features, int64_t in_features);

// With every size. Throws UsageError when the sizes do not fit the matrix; the message names those
// that do, and `module` when given.
RepresentationSpec resolved(const RepresentationSpec& spec, int64_t out_features,
                            int64_t in_features, const std::string& module = "");
// A resolved spec as config.json has it, {"transform": FIELDS, "terms": [FIELDS, ...]} without the
// first where there is none, and back; other keys of `fields` are not looked at. Error names
// `source`.
OrderedJson spec_to_json(const RepresentationSpec& resolved_spec);
RepresentationSpec spec_from_json(const Json& fields, const std::string& source);

// The arrays of a [out_features, in_features] matrix in this representation (docs/format.md).
// Throws UsageError like resolved().
std::vector<PartLayout> part_layout(const RepresentationSpec& spec, int64_t out_features,
                                    int64_t in_features, const std::string& module = "");
// Everything the file holds, in bits per weight.
double bits_per_weight(const RepresentationSpec& spec, int64_t out_features, int64_t in_features);

// Whether rows can be quantized slice by slice.
bool rows_stand_alone(const RepresentationSpec& spec);
// Whether a row is decoded together with others, which an embedding cannot afford: outputs are
// rotated.
bool mixes_rows(const RepresentationSpec& spec);
// How many rows a representation keeps in 16 bits (+rowsN); 0: it has no such term. And the
// representation with so many.
int64_t kept_rows(const RepresentationSpec& spec);
RepresentationSpec with_kept_rows(RepresentationSpec spec, int64_t count);
// What --embedding BITS stands for.
RepresentationSpec row_representation(int bits, int64_t in_features);
// UsageError where no sensible result can come of it: sizes that do not fit, or codebooks with more
// centroids than the matrix has code groups to take them. (Files may hold the latter in additive
// codebooks, and are read.)
void check_quantizable(const RepresentationSpec& spec, int64_t out_features, int64_t in_features);
// The fewest rows that a matrix of so many inputs can have.
int64_t least_rows(const RepresentationSpec& spec, int64_t out_features, int64_t in_features);

}  // namespace bitsmith
