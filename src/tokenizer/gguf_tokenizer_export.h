// The vocabulary inside a GGUF file as Hugging Face files, so that a directory made from a GGUF is
// a whole model: tokenizer.json gives the same ids as the GGUF's vocabulary.
#pragma once
#include <map>
#include <string>

#include "architecture/checkpoint.h"
#include "base/json.h"
#include "tokenizer/gguf_vocabulary.h"

namespace bitsmith {

// tokenizer.json (the `tokenizers` library's schema, version 1.0). Throws Error for a "llama"
// vocabulary that this schema cannot express exactly.
Json gguf_tokenizer_json(const GgufVocabulary& vocabulary);

// tokenizer_config.json: special tokens, chat template.
OrderedJson gguf_tokenizer_config(const GgufVocabulary& vocabulary);

// generation_config.json: the model's end tokens, and those of kEndTokens (end_tokens.h) that its
// vocabulary has.
OrderedJson gguf_generation_config(const GgufVocabulary& vocabulary, const ModelPlan& plan);

// The texts of the three by the files' names, of a GGUF model; none where it holds no vocabulary.
std::map<std::string, std::string> gguf_tokenizer_files(const Checkpoint& model);

// Throws what gguf_tokenizer_files would throw for the content of `model`, and writes nothing; for
// a Hugging Face directory it does nothing. To be called before long work; takes about a second.
void check_tokenizer_export(const Checkpoint& model);

}  // namespace bitsmith
