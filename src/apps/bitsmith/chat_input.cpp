#include "apps/bitsmith/chat_input.h"

namespace bitsmith {
namespace {

constexpr const char* kPrompt = "> ";
constexpr const char* kMorePrompt = ". ";
constexpr std::string_view kQuotes = "\"\"\"";

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

}  // namespace

ChatInput::Event ChatInput::next(std::string& text) {
  for (;;) {
    LineReader::Event event = lines_.next(kPrompt, text);
    const bool command = event == LineReader::Event::kLine && text.starts_with("/");
    if (event == LineReader::Event::kLine && !command) event = rest_of(text);
    if (event == LineReader::Event::kInterrupt) return Event::kInterrupt;
    if (event == LineReader::Event::kEnd) return Event::kEnd;
    if (is_blank(text)) continue;
    return command ? Event::kCommand : Event::kMessage;
  }
}

// `message` is the first line. The input's end ends a message that was begun.
LineReader::Event ChatInput::rest_of(std::string& message) {
  std::string line;
  if (message.starts_with(kQuotes)) {
    message.erase(0, kQuotes.size());
    while (!message.ends_with(kQuotes)) {
      const auto event = lines_.next(kMorePrompt, line);
      if (event == LineReader::Event::kInterrupt) return event;
      if (event == LineReader::Event::kEnd) return LineReader::Event::kLine;
      message += "\n" + line;
    }
    message.erase(message.size() - kQuotes.size());
    if (message.starts_with("\n")) message.erase(0, 1);
    if (message.ends_with("\n")) message.pop_back();
    return LineReader::Event::kLine;
  }
  while (message.ends_with("\\")) {
    message.back() = '\n';
    const auto event = lines_.next(kMorePrompt, line);
    if (event == LineReader::Event::kInterrupt) return event;
    if (event == LineReader::Event::kEnd) break;
    message += line;
  }
  return LineReader::Event::kLine;
}

}  // namespace bitsmith
