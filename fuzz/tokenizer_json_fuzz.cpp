// tokenizer.json from hostile hands: it loads or gives an Error, and what loads encodes any text to
// ids of its vocabulary and decodes them.
#include "base/error.h"
#include "tokenizer/tokenizer_json.h"
#include "use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer = bitsmith::parse_tokenizer_json(input, "fuzz");
    for (const std::string_view text : bitsmith::kFuzzTexts)
      bitsmith::use_tokenizer(*tokenizer, text);
    bitsmith::use_tokenizer(*tokenizer, input.substr(0, 4096));
  } catch (const bitsmith::Error&) {
  }
  return 0;
}
