// Where figures on a text lie. Each returns a warning of one line that begins with `source`, the
// name of the text; empty where all is well.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "evaluate/documents.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {

// Text that the original model itself finds absurd: another language, another tokenizer, data that
// is no text. `perplexity` is the original's, on `tokens` tokens; it is absurd above
// kAbsurdPerplexity, and above a quarter of the vocabulary, where the model is near to guessing.
std::string absurd_perplexity_warning(const std::string& source, double perplexity, int64_t tokens,
                                      int64_t vocab_size);
constexpr double kAbsurdPerplexity = 1000;

// Plain documents and messages of chats that spell special tokens (<|endoftext|>), which are read
// as characters.
std::string spelled_tokens_warning(const std::string& source,
                                   const std::vector<Document>& documents,
                                   const Tokenizer& tokenizer);

// Two BOS tokens side by side: a template or a text wrote one, and another was put before it. Where
// BOS also ends documents, two of them are an end and a beginning.
int64_t count_doubled_bos(std::span<const int32_t> tokens, const Tokenizer& tokenizer);
std::string doubled_bos_warning(const std::string& source, int64_t count,
                                const Tokenizer& tokenizer);

// Windows without the BOS that the tokenizer puts before a text.
std::string missing_bos_warning(const std::string& source, bool windows_begin_with_bos,
                                const Tokenizer& tokenizer);

}  // namespace bitsmith
