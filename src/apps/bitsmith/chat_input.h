// Messages and commands of a chat in the terminal, out of lines.
#pragma once
#include <string>

#include "apps/bitsmith/line_reader.h"

namespace bitsmith {

class ChatInput {
 public:
  enum class Event {
    kMessage,
    kCommand,    // a line that begins with /
    kInterrupt,  // Ctrl-C; a message of several lines that was begun is gone
    kEnd
  };
  explicit ChatInput(LineReader& lines) : lines_(lines) {}

  // A message is a line; or several, where each but the last ends with a backslash, or all that is
  // between lines that begin and end with """. Empty lines are passed over.
  Event next(std::string& text);

 private:
  LineReader::Event rest_of(std::string& message);

  LineReader& lines_;
};

}  // namespace bitsmith
