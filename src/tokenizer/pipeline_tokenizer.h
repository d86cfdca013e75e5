// The whole pipeline: added tokens, normalizer, pre-tokenizer, model, post-processor, decoder.
#pragma once
#include "tokenizer/added_tokens.h"
#include "tokenizer/decoder.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/token_model.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {

class PipelineTokenizer final : public Tokenizer {
 public:
  struct Parts {
    AddedTokens added_tokens;
    Normalizer normalizer;
    PreTokenizer pre_tokenizer;
    std::unique_ptr<TokenModel> model;
    TokenDecoder decoder;
    std::vector<int32_t> prefix, suffix;  // what add_special puts around a text
  };
  explicit PipelineTokenizer(Parts parts);

  std::vector<int32_t> encode(std::string_view text, bool add_special, ParseSpecial parse_special,
                              const Deadline& deadline) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special) const override;
  std::string token_bytes(int32_t id) const override;
  int32_t vocab_size() const override { return vocab_size_; }
  std::optional<int32_t> token_id(std::string_view token) const override;
  std::vector<std::string> special_tokens() const override {
    return parts_.added_tokens.special_contents();
  }

 private:
  void encode_words(const Pieces& pieces, const Deadline& deadline,
                    std::vector<int32_t>& ids) const;
  const std::string& token_text(int32_t id) const;  // Error if out of range

  Parts parts_;
  int32_t vocab_size_ = 0;
};

}  // namespace bitsmith
