// Any bytes as a .jsonl file of texts and chats: documents, or an Error whose message is short and
// has no control bytes.
#include <cstdlib>

#include "base/error.h"
#include "evaluate/documents.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bitsmith::ChatTemplate chat_ml(
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] "
      "+ '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
      "{{ '<|im_start|>assistant\n' }}{% endif %}");
  if (!chat_ml.supported()) std::abort();
  try {
    bitsmith::parse_documents({reinterpret_cast<const char*>(data), size}, "fuzz.jsonl", chat_ml);
  } catch (const bitsmith::Error& error) {
    const std::string message = error.what();
    if (message.size() > 600) std::abort();
    for (const char c : message)
      if (static_cast<unsigned char>(c) < 0x20) std::abort();
  }
  return 0;
}
