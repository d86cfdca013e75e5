#include "apps/bitsmith/standard_input.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "apps/command.h"

namespace bitsmith {

ssize_t read_standard_input(char* buffer, size_t size) {
  for (;;) {
    if (interrupt_flag().raised()) {
      errno = EINTR;
      return -1;
    }
    pollfd input = {.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&input, 1, 100);
    if (ready > 0) return ::read(STDIN_FILENO, buffer, size);
    if (ready < 0 && errno != EINTR) return -1;
  }
}

}  // namespace bitsmith
