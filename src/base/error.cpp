#include "base/error.h"

#include <cstdio>
#include <cstdlib>

namespace bitsmith {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "bitsmith: internal error: %s is false at %s:%d; please report this\n",
               condition, file, line);
  std::abort();
}

}  // namespace bitsmith
