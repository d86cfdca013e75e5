#include "apps/bitsmith/line_reader.h"

#include <errno.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "apps/bitsmith/standard_input.h"

namespace bitsmith {
namespace {

class PlainLineReader : public LineReader {
 public:
  Event next(const std::string& prompt, std::string& line) override {
    if (isatty(STDIN_FILENO)) std::fputs(prompt.c_str(), stderr);
    for (;;) {
      if (const size_t end = pending_.find('\n'); end != std::string::npos) {
        line = pending_.substr(0, end);
        pending_.erase(0, end + 1);
        return Event::kLine;
      }
      char buffer[4096];
      const ssize_t n = read_standard_input(buffer, sizeof(buffer));
      if (n > 0) {
        pending_.append(buffer, static_cast<size_t>(n));
      } else if (n < 0 && errno == EINTR) {
        return Event::kInterrupt;
      } else if (!pending_.empty()) {  // the last line may lack its end
        line = std::exchange(pending_, {});
        return Event::kLine;
      } else {
        return Event::kEnd;
      }
    }
  }

 private:
  std::string pending_;
};

}  // namespace

std::unique_ptr<LineReader> make_plain_line_reader() { return std::make_unique<PlainLineReader>(); }

std::unique_ptr<LineReader> make_line_reader() {
#ifdef BITSMITH_LIBEDIT
  if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO))
    if (auto reader = make_edited_line_reader()) return reader;
#endif
  return make_plain_line_reader();
}

}  // namespace bitsmith
