#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace bitsmith {

std::string Utf8Stream::push(std::string_view bytes) {
  pending_ += bytes;
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Utf8Unit unit = next_utf8(rest);
    if (unit.state == Utf8Unit::State::kIncomplete) break;
    append_utf8(out, unit.code_point);
    rest.remove_prefix(unit.length);
  }
  pending_ = std::string(rest);
  return out;
}

std::string Utf8Stream::flush() {
  std::string out = repair_utf8(pending_);
  pending_.clear();
  return out;
}

}  // namespace bitsmith
