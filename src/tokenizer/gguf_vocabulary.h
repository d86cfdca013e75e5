// Tokenizers from the keys of a GGUF file: byte-level BPE ("gpt2") and SentencePiece-style BPE with
// scores ("llama").
#pragma once
#include <memory>
#include <string>

#include "base/json.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {

// Reads tokenizer.ggml.* and tokenizer.chat_template, with bos_id, eos_id and chat_template. Throws
// Error naming `source` and the key.
std::unique_ptr<Tokenizer> make_gguf_tokenizer(const Json& keys, const std::string& source);

}  // namespace bitsmith
