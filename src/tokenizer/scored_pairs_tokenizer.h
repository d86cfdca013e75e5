// SentencePiece BPE as GGUF files carry it: pieces with scores, no merges (tokenizer.ggml.model =
// "llama"). Of all neighbors whose union is a piece, the one with the best score is merged first.
#pragma once
#include "tokenizer/added_tokens.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocabulary.h"

namespace bitsmith {

class ScoredPairsTokenizer final : public Tokenizer {
 public:
  struct Parts {
    Vocabulary vocabulary;  // spaces written as U+2581
    std::vector<float> scores;
    std::vector<bool> mergeable;     // [vocabulary] neighbors may become it: it is not special
    AddedTokens added_tokens;        // control, unknown and user-defined tokens
    std::optional<int32_t> unknown;  // for characters without bytes in the vocabulary
    bool add_space_prefix = true;
    std::vector<int32_t> prefix, suffix;  // what add_special puts around a text
  };
  explicit ScoredPairsTokenizer(Parts parts) : parts_(std::move(parts)) {}

  std::vector<int32_t> encode(std::string_view text, bool add_special, ParseSpecial parse_special,
                              const Deadline& deadline) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special) const override;
  std::string token_bytes(int32_t id) const override;
  int32_t vocab_size() const override { return parts_.vocabulary.size(); }
  std::optional<int32_t> token_id(std::string_view token) const override {
    return parts_.vocabulary.find(token);
  }
  std::vector<std::string> special_tokens() const override {
    return parts_.added_tokens.special_contents();
  }

 private:
  void encode_piece(const std::string& text, const Deadline& deadline,
                    std::vector<int32_t>& ids) const;
  void append_symbol(std::string_view symbol, bool& unknown, std::vector<int32_t>& ids) const;

  Parts parts_;
};

}  // namespace bitsmith
