// LibTorch's threads wait for each other by spinning for milliseconds before they sleep: on a
// machine that has other work, each such wait takes a core from the thread that is waited for. How
// they wait is read from the environment when the OpenMP library is loaded, long before main().
// Sleeping at once takes no longer on a quiet machine (quantize of a tiny model: 8.5 s either way)
// and less beside a busy loop (15 s in place of 20).
#include <string.h>
#include <unistd.h>

namespace {

constexpr char kWaiting[] = "OMP_WAIT_POLICY=passive";  // sleep at once

bool begins_with(const char* text, const char* prefix) {
  return strncmp(text, prefix, strlen(prefix)) == 0;
}

// Executes the program anew with kWaiting in its environment, unless the user has chosen. Runs
// before any library's constructors, the standard library's included, so that it costs little and
// may use nothing but system calls. Where it fails, the threads spin as long as they do.
void execute_with_passive_waits(int, char** argv, char** environment) {
  size_t count = 0;
  for (; environment[count]; ++count) {
    if (begins_with(environment[count], "GOMP_SPINCOUNT=") ||
        begins_with(environment[count], "OMP_WAIT_POLICY=")) {
      return;
    }
  }
  char program[4096];  // its path and not /proc/self/exe: the process is named after it
  const ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
  if (length <= 0) return;
  program[length] = '\0';
  auto** extended = static_cast<const char**>(__builtin_alloca((count + 2) * sizeof(char*)));
  memcpy(extended, environment, count * sizeof(char*));
  extended[count] = kWaiting;
  extended[count + 1] = nullptr;
  execve(program, argv, const_cast<char**>(extended));
}

[[gnu::section(".preinit_array"),
  gnu::used]] void (*const before_libraries)(int, char**, char**) = execute_with_passive_waits;

}  // namespace
