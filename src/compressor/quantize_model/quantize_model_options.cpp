#include "compressor/quantize_model/quantize_model_options.h"

#include "base/error.h"

namespace bitsmith {

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
