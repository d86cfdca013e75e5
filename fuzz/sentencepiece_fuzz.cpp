// tokenizer.model from hostile hands: as tokenizer_json_fuzz. Messages of the library are switched
// off by its log level.
#include "base/error.h"
#include "tokenizer/sentencepiece_tokenizer.h"
#include "use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    bitsmith::SentencePieceOptions options;
    options.added_tokens.push_back({.id = 300, .content = "<s>", .special = true});
    const auto tokenizer =
        bitsmith::make_sentencepiece_tokenizer(input, std::move(options), "fuzz");
    for (const std::string_view text : bitsmith::kFuzzTexts)
      bitsmith::use_tokenizer(*tokenizer, text);
    bitsmith::use_tokenizer(*tokenizer, input.substr(0, 4096));
  } catch (const bitsmith::Error&) {
  }
  return 0;
}
