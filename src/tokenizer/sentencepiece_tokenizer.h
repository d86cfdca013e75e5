// tokenizer.model through libsentencepiece.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {

struct SentencePieceOptions {
  std::vector<AddedToken> added_tokens;  // beyond the model's own pieces
  bool add_bos = true, add_eos = false;
};

// `bytes` is the file. Throws Error naming `source`; files of tiktoken ranks, which Llama 3 calls
// tokenizer.model too, are recognized and refused.
std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(std::string_view bytes,
                                                        SentencePieceOptions options,
                                                        const std::string& source);

}  // namespace bitsmith
