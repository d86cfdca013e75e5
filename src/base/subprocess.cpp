#include "base/subprocess.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/error.h"

namespace bitsmith {

std::string output_of(const std::vector<std::string>& arguments) {
  const auto fail = [&](const std::string& why) -> Error {
    return Error(concat(arguments.at(0), " ", arguments.size() > 1 ? arguments[1] : "", ": ", why));
  };
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw fail(std::strerror(errno));
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  pid_t child = 0;
  const int failed = ::posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n; failed == 0 && (n = ::read(ends[0], buffer, sizeof(buffer))) != 0;) {
    if (n < 0 && errno != EINTR) break;
    if (n > 0) text.append(buffer, static_cast<size_t>(n));
  }
  ::close(ends[0]);
  if (failed != 0) throw fail(concat("cannot be started: ", std::strerror(failed)));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw fail("did not succeed");
  return text;
}

std::filesystem::path beside_this_program(const std::string& name) {
  std::error_code failed;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", failed);
  return failed ? std::filesystem::path() : program.parent_path() / name;
}

void become(const std::filesystem::path& program, char* const* words) {
  ::execv(program.c_str(), words);
  throw Error(concat(program.string(), " cannot be started: ", std::strerror(errno)));
}

}  // namespace bitsmith
