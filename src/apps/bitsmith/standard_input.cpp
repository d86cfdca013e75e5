#include "apps/bitsmith/standard_input.h"

#include <errno.h>
#include <unistd.h>

#include "apps/command.h"

namespace bitsmith {

ssize_t read_standard_input(char* buffer, size_t size) {
  interrupt_flag();  // is raised by signals from now on
  if (wait_for_input(STDIN_FILENO)) return ::read(STDIN_FILENO, buffer, size);
  errno = EINTR;
  return -1;
}

}  // namespace bitsmith
