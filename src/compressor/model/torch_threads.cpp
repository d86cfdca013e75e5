#include "compressor/model/torch_threads.h"

#include <ATen/Parallel.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace bitsmith {

void set_torch_environment(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
  std::error_code failed;  // the path and not /proc/self/exe: it names the process
  const auto program = std::filesystem::read_symlink("/proc/self/exe", failed);
  if (failed) return;
  ::setenv("GOMP_SPINCOUNT", "4000", 1);
  ::execv(program.c_str(), argv);
}

void set_torch_threads(int threads) { at::set_num_threads(threads); }

void keep_freed_memory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace bitsmith
