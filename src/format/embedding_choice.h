// What embedding and head of a model become, as --embedding says it.
#pragma once
#include <optional>
#include <string>

#include "format/representation_spec.h"

namespace bitsmith {

// A number of bits, by nearest rounding row by row: 16 (dense), 8 or 4; or a representation, by its
// method.
struct EmbeddingChoice {
  int bits = 16;  // where there is no representation
  std::optional<RepresentationSpec> representation = {};
  bool operator==(const EmbeddingChoice&) const = default;
};

// "16", "8", "4", or a representation's text. UsageError for anything else.
std::string option_text(const EmbeddingChoice& choice);
void parse_option(const std::string& text, EmbeddingChoice& choice);

// What a matrix of `in_features` becomes; nothing: it stays dense.
std::optional<RepresentationSpec> spec_of(const EmbeddingChoice& choice, int64_t in_features);

}  // namespace bitsmith
