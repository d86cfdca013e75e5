// Token texts -> text: the `decoder` of a tokenizer.json.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"

namespace bitsmith {

class DecoderStep {
 public:
  virtual ~DecoderStep() = default;
  virtual std::vector<std::string> apply(std::vector<std::string> tokens) const = 0;
  // One token in the middle of a text, as raw bytes.
  virtual std::string token_bytes(std::string token) const = 0;
};

class TokenDecoder {
 public:
  TokenDecoder() = default;
  // `json` may be null: tokens are joined by spaces. Throws Error naming what is supported.
  TokenDecoder(const Json& json, const std::string& source);

  std::string apply(std::vector<std::string> tokens) const;
  std::string token_bytes(std::string token) const;

 private:
  std::vector<std::unique_ptr<DecoderStep>> steps_;  // nested sequences laid out flat
};

}  // namespace bitsmith
