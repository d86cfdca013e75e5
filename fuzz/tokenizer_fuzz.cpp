// tokenizer.json from hostile hands: it loads or gives an Error, and what loads encodes any text to
// ids of its vocabulary and decodes them.
#include <cstdlib>

#include "base/error.h"
#include "tokenizer/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer = bitsmith::parse_tokenizer_json(input, "fuzz");
    for (const std::string_view text :
         {std::string_view("Hello  w\u00F6rld 123\n\t\u2581<s> don't \xFF\xE2\x82 \U0001F600!"),
          input.substr(0, 4096)}) {
      const auto ids = tokenizer->encode(text);
      for (const int32_t id : ids) {
        if (id < 0 || id >= tokenizer->vocab_size()) std::abort();
        tokenizer->token_bytes(id);
      }
      tokenizer->decode(ids, true);
      tokenizer->decode(ids);
    }
  } catch (const bitsmith::Error&) {
  }
  return 0;
}
