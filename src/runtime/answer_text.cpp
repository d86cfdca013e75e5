#include "runtime/answer_text.h"

#include <algorithm>

namespace bitsmith {
namespace {

// Bytes at the end of `text` that begin `stop` without being all of it: the most that do.
size_t begun(std::string_view text, std::string_view stop) {
  size_t length = std::min(text.size(), stop.size() - 1);
  while (!text.ends_with(stop.substr(0, length))) --length;
  return length;
}

}  // namespace

std::string AnswerText::push(std::string_view bytes) {
  if (stopped_) return "";
  held_ += characters_.push(bytes);
  return release(false);
}

std::string AnswerText::finish() {
  if (stopped_) return "";
  held_ += characters_.flush();
  return release(true);
}

std::string AnswerText::release(bool all) {
  size_t end = std::string::npos;
  for (const std::string& stop : stop_) end = std::min(end, held_.find(stop));
  stopped_ = end != std::string::npos;
  if (!stopped_) {
    size_t held = 0;
    if (!all)
      for (const std::string& stop : stop_) held = std::max(held, begun(held_, stop));
    end = held_.size() - held;
  }
  std::string text = held_.substr(0, end);
  held_.erase(0, end);
  return text;
}

}  // namespace bitsmith
