// For tests: the vocabulary of a GGUF file with given keys.
#pragma once
#include <string>

#include "checkpoint/test_files.h"
#include "tokenizer/gguf_vocabulary.h"

namespace bitsmith::testing {

// Integers become int32, other numbers float32; an array has the type of its first element.
inline void add_keys(GgufBuilder& gguf, const Json& keys) {
  const auto type_of = [](const Json& value) -> uint32_t {
    return value.is_string() ? 8 : value.is_boolean() ? 7 : value.is_number_integer() ? 5 : 6;
  };
  const auto bytes = [](const Json& value, uint32_t type) {
    switch (type) {
      case 8:
        return GgufBuilder::string(value.get<std::string>());
      case 7:
        return GgufBuilder::number(static_cast<uint8_t>(value.get<bool>()));
      case 5:
        return GgufBuilder::number(value.get<int32_t>());
      default:
        return GgufBuilder::number(value.get<float>());
    }
  };
  for (const auto& [key, value] : keys.items()) {
    if (!value.is_array()) {
      gguf.raw_key(key, type_of(value), bytes(value, type_of(value)));
      continue;
    }
    const uint32_t type = value.empty() ? 5 : type_of(value[0]);
    std::string all = GgufBuilder::number(type) + GgufBuilder::number(uint64_t{value.size()});
    for (const Json& item : value) all += bytes(item, type);
    gguf.raw_key(key, 9, all);
  }
}

inline GgufVocabulary read_vocabulary(const Json& keys, const std::string& source = "g") {
  GgufBuilder gguf;
  add_keys(gguf, keys);
  const std::string file = gguf.bytes();
  return read_gguf_vocabulary(parse_gguf(bytes_of(file), source), source);
}

}  // namespace bitsmith::testing
