// Lines that a person types, or that come through a pipe.
#pragma once
#include <memory>
#include <string>

namespace bitsmith {

class LineReader {
 public:
  enum class Event { kLine, kInterrupt, kEnd };

  virtual ~LineReader() = default;
  // kInterrupt: interrupt_flag() was raised meanwhile, as by Ctrl-C; what was typed is gone. `line`
  // comes without its end.
  virtual Event next(const std::string& prompt, std::string& line) = 0;
};

// With editing and history on a terminal, where this build has libedit; else plain lines.
std::unique_ptr<LineReader> make_line_reader();
// Plain lines of standard input; the prompt is shown where that is a terminal.
std::unique_ptr<LineReader> make_plain_line_reader();
// Null where the terminal cannot be edited on.
std::unique_ptr<LineReader> make_edited_line_reader();

}  // namespace bitsmith
