// The loader for Hugging Face's tokenizer.json with a BPE or a unigram model.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "tokenizer/tokenizer.h"

namespace bitsmith {

// `text` is untrusted. Throws Error naming `source` and what is wrong or not supported. The result
// has no bos_id, eos_id or chat_template: those are in other files.
std::unique_ptr<Tokenizer> parse_tokenizer_json(std::string_view text, const std::string& source);

}  // namespace bitsmith
