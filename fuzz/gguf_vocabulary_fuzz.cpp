// The vocabulary of a GGUF file from hostile hands: it loads or gives an Error, what loads encodes
// and decodes any text, and what is exported gives the same ids.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tokenizer/gguf_tokenizer_export.h"
#include "tokenizer/tokenizer_json.h"
#include "use_tokenizer.h"

namespace {

using namespace bitsmith;

std::unique_ptr<Tokenizer> exported(const GgufVocabulary& vocabulary) {
  std::string text;
  try {
    text = gguf_tokenizer_json(vocabulary).dump();
  } catch (const Error&) {
    return nullptr;
  } catch (const nlohmann::json::exception&) {  // not UTF-8
    return nullptr;
  }
  return parse_tokenizer_json(text, "exported");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::unique_ptr<Tokenizer> tokenizer;
  GgufVocabulary vocabulary;
  try {
    const GgufFile gguf = parse_gguf(std::as_bytes(std::span(data, size)), "fuzz");
    vocabulary = read_gguf_vocabulary(gguf, "fuzz");
    gguf_tokenizer_config(vocabulary);
    tokenizer = make_gguf_tokenizer(vocabulary);
  } catch (const Error&) {
    return 0;
  }
  for (const std::string_view text : kFuzzTexts) use_tokenizer(*tokenizer, text);
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  use_tokenizer(*tokenizer, input.substr(0, 4096));
  if (const auto other = exported(vocabulary)) {
    for (const std::string_view text : kFuzzTexts) {
      if (other->encode(text) != tokenizer->encode(text)) std::abort();
      if (other->encode(text, false, false) != tokenizer->encode(text, false, false)) std::abort();
    }
  }
  return 0;
}
