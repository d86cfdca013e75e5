#include "format/embedding_choice.h"

#include <algorithm>

#include "base/error.h"

namespace bitsmith {

std::string option_text(const EmbeddingChoice& choice) {
  return choice.representation ? to_string(*choice.representation) : std::to_string(choice.bits);
}

void parse_option(const std::string& text, EmbeddingChoice& choice) {
  const bool digits = !text.empty() && std::all_of(text.begin(), text.end(),
                                                   [](char c) { return c >= '0' && c <= '9'; });
  if (!digits) {
    choice = {.representation = parse_representation(text)};
    return;
  }
  for (const int bits : {16, 8, 4}) {
    if (text == std::to_string(bits)) {
      choice = {.bits = bits};
      return;
    }
  }
  throw UsageError(concat("embedding and head cannot have ", excerpt(text),
                          " bits: choose 16, 8, 4 or a representation, for example int4g32"));
}

std::optional<RepresentationSpec> spec_of(const EmbeddingChoice& choice, int64_t in_features) {
  if (choice.representation) return choice.representation;
  if (choice.bits >= 16) return std::nullopt;
  return row_representation(choice.bits, in_features);
}

}  // namespace bitsmith
