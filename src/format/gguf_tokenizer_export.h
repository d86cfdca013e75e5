// The tokenizer inside a GGUF file as Hugging Face files, so that a directory made from a GGUF is a
// whole model: tokenizer.json gives the same ids as the GGUF's vocabulary.
#pragma once
#include <filesystem>
#include <string>

#include "base/json.h"
#include "checkpoint/model_config.h"

namespace bitsmith {

// tokenizer.json (the `tokenizers` library's schema, version 1.0) from GGUF keys. Byte-level BPE
// ("gpt2") with pre gpt-2, smollm, llama-bpe or qwen2, and SentencePiece BPE ("llama"). Throws
// Error for another kind, and for a "llama" vocabulary that this schema cannot express exactly.
Json gguf_tokenizer_json(const Json& keys, const std::string& source);

// tokenizer_config.json: special tokens, chat template.
OrderedJson gguf_tokenizer_config(const Json& keys, const std::string& source);

// generation_config.json: the model's end tokens, and those its vocabulary has for chat turns and
// documents (<|im_end|>, <|endoftext|>, ...).
OrderedJson gguf_generation_config(const Json& keys, const ModelConfig& config,
                                   const std::string& source);

// Writes the three into `folder`; for a GGUF without a vocabulary only a warning is logged.
void export_gguf_tokenizer(const std::filesystem::path& gguf, const ModelConfig& config,
                           const std::filesystem::path& folder);

}  // namespace bitsmith
