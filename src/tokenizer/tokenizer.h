// [2] Text <-> token ids. One interface over tokenizer.json (BPE and Unigram), the vocabularies
// inside GGUF files (gpt2, llama, t5), and SentencePiece's tokenizer.model.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "tokenizer/parse_special.h"

namespace bitsmith {

class Tokenizer {
 public:
  // MODEL is a Hugging Face or Bitsmith directory (tokenizer.json, else tokenizer.model), a packed
  // model or a GGUF file. Throws Error naming the file and what is not supported.
  static std::unique_ptr<Tokenizer> open(const std::filesystem::path& model);
  virtual ~Tokenizer() = default;

  // add_special: also what the model's post-processor adds (BOS and the like). parse_special: where
  // special tokens written in the text (<|im_start|>) are recognized. Never fails on invalid UTF-8,
  // but the bytes of parse_special are those of valid text. Throws DeadlineError. Thread-safe.
  virtual std::vector<int32_t> encode(std::string_view text, bool add_special = true,
                                      ParseSpecial parse_special = true,
                                      const Deadline& deadline = {}) const = 0;
  // skip_special: leave control tokens out. Ids out of range throw Error.
  virtual std::string decode(std::span<const int32_t> ids, bool skip_special = false) const = 0;
  // The bytes of one token inside a text (no stripping of a leading space), for streaming.
  virtual std::string token_bytes(int32_t id) const = 0;
  virtual int32_t vocab_size() const = 0;  // one more than the largest id
  virtual std::optional<int32_t> token_id(
      std::string_view token) const = 0;  // exact vocabulary entry
  // As texts would spell the tokens that encode() recognizes iff parse_special.
  virtual std::vector<std::string> special_tokens() const = 0;

  // Ids of the file's own metadata (tokenizer_config.json, GGUF keys); empty if it says nothing.
  std::optional<int32_t> bos_id, eos_id;
  // Jinja source of the model's chat template, and of the one for chats with tools; empty if none.
  std::string chat_template, tool_use_template;
  // The texts of the tokens that a chat template knows by name: bos_token, eos_token, ...
  std::map<std::string, std::string> named_tokens;
  // The token that ends a document in training text (<|endoftext|>, </s>), used to join documents:
  // eos, unless the vocabulary has <|endoftext|>.
  int32_t document_separator() const;
  // BOS, if the tokenizer puts it before a text (encode with add_special).
  std::optional<int32_t> added_bos() const;
};

// Joins token bytes into whole UTF-8 characters: push() returns what is complete so far.
class Utf8Stream {
 public:
  std::string push(std::string_view bytes);
  std::string flush();  // what is left, incomplete bytes replaced by U+FFFD

 private:
  std::string pending_;
};

}  // namespace bitsmith
