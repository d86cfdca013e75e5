#include "apps/bitsmith/compressor_program.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/subprocess.h"

namespace bitsmith {
namespace {

// LibTorch's threads wait for each other by spinning for milliseconds before they sleep: on a
// machine that has other work, each such wait takes a core from the thread that is waited for. How
// they wait is read from the environment when the OpenMP library is loaded, long before main().
// Sleeping at once takes no longer on a quiet machine (quantize of a tiny model: 8.5 s either way)
// and less beside a busy loop (15 s in place of 20). A user's choice stays.
void let_openmp_threads_sleep() {
  if (!::getenv("GOMP_SPINCOUNT") && !::getenv("OMP_WAIT_POLICY"))
    ::setenv("OMP_WAIT_POLICY", "passive", 1);
}

}  // namespace

CompressorProgram::CompressorProgram(char* const* words)
    : path_(beside_this_program("bitsmith-compressor")), words_(words) {}

bool CompressorProgram::exists() const { return ::access(path_.c_str(), X_OK) == 0; }

void CompressorProgram::take_over() const {
  let_openmp_threads_sleep();
  become(path_, words_);
}

}  // namespace bitsmith
