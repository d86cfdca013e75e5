#include "compressor/quantize_model/quantize_model_options.h"

#include "base/error.h"
#include "base/name_table.h"

namespace bitsmith {
namespace {

constexpr NameTable<ErrorMeasure, 3> kErrorMeasures = {"objective",
                                                       {{ErrorMeasure::kLayer, "layer"},
                                                        {ErrorMeasure::kGuided, "guided"},
                                                        {ErrorMeasure::kKronecker, "kronecker"}}};

constexpr NameTable<RowWeights, 3> kRowWeights = {"row weights",
                                                  {{RowWeights::kNone, "none"},
                                                   {RowWeights::kGuided, "guided"},
                                                   {RowWeights::kRelative, "relative"}}};

}  // namespace

std::string option_text(ErrorMeasure measure) { return kErrorMeasures.name(measure); }
void parse_option(const std::string& text, ErrorMeasure& measure) {
  measure = kErrorMeasures.parse(text);
}

std::string option_text(RowWeights weights) { return kRowWeights.name(weights); }
void parse_option(const std::string& text, RowWeights& weights) {
  weights = kRowWeights.parse(text);
}

std::string option_text(const Override& entry) {
  return concat(entry.first, "=", to_string(entry.second));
}
void parse_option(const std::string& text, Override& entry) {
  const size_t equals = text.rfind('=');  // a representation holds none
  if (equals == std::string::npos || equals == 0)
    throw UsageError(
        concat("override '", excerpt(text), "' is not REGEX=R, for example 'down_proj=int4g64'"));
  entry = {text.substr(0, equals), parse_representation(text.substr(equals + 1))};
}

}  // namespace bitsmith
