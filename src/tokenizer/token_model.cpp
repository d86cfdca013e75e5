#include "tokenizer/token_model.h"

#include "base/error.h"

namespace bitsmith {

void check_text_size(std::string_view text) {
  constexpr size_t kMost = size_t{1} << 30;
  if (text.size() > kMost)
    throw Error(concat("a text of ", text.size(), " bytes is too long for the tokenizer (limit ",
                       kMost, "); split it into documents"));
}

}  // namespace bitsmith
