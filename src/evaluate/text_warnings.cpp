#include "evaluate/text_warnings.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/error.h"

namespace bitsmith {
namespace {

// Where a document spells special tokens that are not meant.
std::vector<std::string_view> plain_stretches(const Document& document) {
  if (!document.chat) return {document.text};
  std::vector<std::string_view> stretches;
  for (const auto& [begin, end] : document.foreign)
    stretches.push_back(std::string_view(document.text).substr(begin, end - begin));
  return stretches;
}

struct Spelled {
  int64_t count = 0;
  size_t first = std::string::npos;  // of a stretch
  std::string token;                 // there
};

void find_spelled(std::string_view text, const std::string& token, Spelled& spelled) {
  if (token.empty()) return;
  for (size_t at = text.find(token); at != std::string::npos;
       at = text.find(token, at + token.size())) {
    ++spelled.count;
    if (at < spelled.first) {
      spelled.first = at;
      spelled.token = token;
    }
  }
}

// BOS that can only begin a text.
bool only_begins(const Tokenizer& tokenizer) {
  return tokenizer.bos_id && tokenizer.eos_id && *tokenizer.bos_id != *tokenizer.eos_id &&
         *tokenizer.bos_id != tokenizer.document_separator();
}

}  // namespace

std::string absurd_perplexity_warning(const std::string& source, double perplexity, int64_t tokens,
                                      int64_t vocab_size) {
  const double limit = std::min(kAbsurdPerplexity, static_cast<double>(vocab_size) / 4);
  if (perplexity <= limit) return "";
  return concat(
      source, ": the original model itself finds this text absurd, its perplexity on ", tokens,
      " tokens is ", std::round(perplexity),
      "; check the file, its language and its encoding, for figures on it mean little and "
      "what it calibrates fits nothing else");
}

std::string spelled_tokens_warning(const std::string& source,
                                   const std::vector<Document>& documents,
                                   const Tokenizer& tokenizer) {
  const std::vector<std::string> special = tokenizer.special_tokens();
  Spelled spelled;
  for (const Document& document : documents) {
    for (const std::string_view stretch : plain_stretches(document)) {
      if (spelled.count > 0) spelled.first = 0;  // the first is in an earlier one
      for (const std::string& token : special) find_spelled(stretch, token, spelled);
    }
  }
  if (spelled.count == 0) return "";
  return concat(source, ": ", spelled.count,
                spelled.count == 1 ? " special token is" : " special tokens are",
                " spelled in plain text, the first ", excerpt(spelled.token),
                "; they are read as the characters they are unless special tokens are parsed");
}

int64_t count_doubled_bos(std::span<const int32_t> tokens, const Tokenizer& tokenizer) {
  if (!only_begins(tokenizer)) return 0;
  int64_t count = 0;
  for (size_t i = 1; i < tokens.size(); ++i)
    count += tokens[i - 1] == *tokenizer.bos_id && tokens[i] == *tokenizer.bos_id;
  return count;
}

std::string doubled_bos_warning(const std::string& source, int64_t count,
                                const Tokenizer& tokenizer) {
  if (count == 0) return "";
  return concat(source, ": BOS (token ", *tokenizer.bos_id, ") is doubled in ", count,
                count == 1 ? " place" : " places",
                ": text or chat template write it, and it is put before them once more; models "
                "have not learned that");
}

std::string missing_bos_warning(const std::string& source, bool windows_begin_with_bos,
                                const Tokenizer& tokenizer) {
  if (windows_begin_with_bos || !tokenizer.added_bos()) return "";
  return concat(source, ": windows begin without BOS (token ", *tokenizer.bos_id,
                "), which this model's tokenizer puts before every text; figures without it can be "
                "far worse than the model is");
}

}  // namespace bitsmith
