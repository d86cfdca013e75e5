// The vocabulary inside a GGUF file: byte-level BPE ("gpt2"), SentencePiece's BPE with scores
// ("llama") and its unigram models ("t5"). It is read once, here; the tokenizer and the exported
// tokenizer.json are made from what was read, so that both give the same ids.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/gguf.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe_model.h"
#include "tokenizer/gguf_pre_tokenizer.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {

struct GgufVocabulary {
  // Values of tokenizer.ggml.token_type.
  enum Type : uint8_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

  enum class Model { kBytePairs, kScoredPairs, kUnigram };

  std::string source;  // for messages
  Model model = Model::kBytePairs;
  const GgufPreTokenizer* pre =
      nullptr;                      // of byte pairs, which have merges; the others have scores
  std::vector<std::string> tokens;  // a token's id is its place
  std::vector<uint8_t> types;       // [tokens]
  std::vector<float> scores;        // [tokens]
  BpeModel::Merges merges;
  std::optional<int32_t> bos, eos, unknown, padding;  // ids
  bool add_bos = false, add_eos = false;              // around a text; only where the id is known
  bool add_space_prefix = true;
  bool remove_extra_whitespaces = false;  // unigram: spaces at the ends, and more than one
  std::string charsmap;                   // unigram: rules of normalization, empty if none
  std::string chat_template, tool_use_template;

  // The texts of the tokens that chat templates and tokenizer_config.json name: bos_token, ...
  std::map<std::string, std::string> named_tokens() const;
  // The tokens that are recognized whole. Of several with one text only the last counts.
  std::vector<AddedToken> added_tokens() const;
  bool has_all_bytes() const;  // the 256 tokens <0x00> to <0xFF>
  // Steps as a tokenizer.json has them; null: none.
  Json normalizer() const;
  Json pre_tokenizer() const;
  Json decoder() const;
};

bool has_vocabulary(const GgufFile& gguf);
// Reads tokenizer.ggml.* and tokenizer.chat_template*. Throws Error naming `source` and the key,
// and what is supported.
GgufVocabulary read_gguf_vocabulary(const GgufFile& gguf, const std::string& source);

// With bos_id, eos_id, named_tokens and the chat templates.
std::unique_ptr<Tokenizer> make_gguf_tokenizer(GgufVocabulary vocabulary);

}  // namespace bitsmith
