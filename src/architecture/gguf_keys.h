// The keys of a GGUF file by their short names: "block_count" for "llama.block_count".
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "checkpoint/gguf.h"

namespace bitsmith {

// The shortest decimal that is this float: 1e-5 for 9.99999975e-06.
double shortest_decimal(double value);

class GgufKeys {
 public:
  GgufKeys(const GgufFile& gguf, const std::string& source);

  const std::string& architecture() const { return architecture_; }
  const std::string& source() const { return source_; }
  // With the architecture: "llama.block_count".
  std::string full(const std::string& name) const { return architecture_ + "." + name; }
  bool has(const std::string& name) const;
  int64_t integer(const std::string& name) const;
  int64_t integer_or(const std::string& name, int64_t fallback) const;
  bool flag_or(const std::string& name, bool fallback) const;
  std::string text_or(const std::string& name, const std::string& fallback) const;
  // An array of bools; empty without the key, or where it is no array.
  std::vector<bool> flags(const std::string& name) const;
  // As shortest_decimal().
  double real(const std::string& name) const;
  double real_or(const std::string& name, double fallback) const;
  // tokenizer.ggml.WHICH_token_id; -1: none.
  int64_t token(const std::string& which) const;

  // The file's tensor, by GGUF's name; nullptr if absent.
  const TensorView* tensor(const std::string& name) const;

 private:
  const GgufFile& gguf_;
  std::string source_, architecture_;
};

}  // namespace bitsmith
