// Any text as a chat template: it is refused with a reason, or renders a talk.
#include <cstdlib>

#include "tokenizer/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const bitsmith::ChatTemplate chat(std::string(reinterpret_cast<const char*>(data), size));
  if (!chat.supported()) {
    if (chat.reason().empty()) std::abort();
    return 0;
  }
  const std::string prompt = chat.render({{"user", "Hi {{"}, {"assistant", "\xFF"}, {"user", ""}});
  if (prompt.find("Hi {{") == prompt.npos) std::abort();
  return 0;
}
