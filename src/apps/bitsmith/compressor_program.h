// The other program, bitsmith-compressor: the commands that need LibTorch, whose loading takes 0.3
// s.
#pragma once
#include <filesystem>

namespace bitsmith {

class CompressorProgram {
 public:
  // `words`: this program's command line, as main() has it; outlives this.
  explicit CompressorProgram(char* const* words);

  // Whether it stands beside this program. It does not where the runtime was built alone.
  bool exists() const;
  // This process becomes it, with the same command line. Throws Error where it cannot be started.
  [[noreturn]] void take_over() const;

 private:
  std::filesystem::path path_;
  char* const* words_;
};

}  // namespace bitsmith
