// Any body, as that of a chat completion and of a text completion: it is read, or refused with an
// error object that is JSON.
#include <cstdlib>

#include "server/completion_request.h"
#include "server/http.h"

namespace bitsmith {
namespace {

void check_refusal(const HttpError& error) {
  if (error.details().status != 400 || *error.what() == '\0') std::abort();
  const HttpResponse response = error.response();
  if (response.body.size() > 20000 || !OrderedJson::accept(response.body)) std::abort();
}

template <typename Read>
void try_to(const Read& read) {
  try {
    read();
  } catch (const HttpError& error) {
    check_refusal(error);
  }
}

void check_options(const CompletionOptions& options) {
  check(options.sampling);  // what was read is in range
  if (options.stop.size() > CompletionOptions::kMostStops) std::abort();
  for (const std::string& stop : options.stop)
    if (stop.empty()) std::abort();
}

}  // namespace
}  // namespace bitsmith

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bitsmith;
  const std::string body(reinterpret_cast<const char*>(data), size);
  try_to([&] {
    const ChatCompletionRequest request = read_chat_completion(body);
    check_options(request.options);
    if (request.chat.messages.empty()) std::abort();
    json_text(request.chat.messages);
  });
  try_to([&] {
    const TextCompletionRequest request = read_text_completion(body);
    check_options(request.options);
    if (request.prompts.empty() || request.prompts.size() > CompletionOptions::kMostPrompts)
      std::abort();
  });
  return 0;
}
