// Any bytes as the files of a task, the first byte its number: items that a harness can judge, or
// an Error whose message is short and has no control bytes. A zero byte separates two files.
#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "evaluate/tasks/task.h"

namespace {

void check(bool condition) {
  if (!condition) std::abort();
}

void check_item(const bitsmith::TaskItem& item) {
  check(!item.requests.empty() && item.requests.size() == item.lengths.size());
  check(item.gold >= 0 && item.gold < std::ssize(item.requests));
  for (const int64_t length : item.lengths) check(length > 0);
  for (const bitsmith::TaskRequest& request : item.requests)
    check(!request.context.empty() && request.continuation.size() > 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const bitsmith::Task& task = bitsmith::all_tasks()[data[0] % bitsmith::all_tasks().size()];
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<bitsmith::TaskFile> files;
  for (const char* name : task.files) {
    const bool last = files.size() + 1 == task.files.size();
    const size_t end = last ? rest.size() : std::min(rest.find('\0'), rest.size());
    files.push_back({name, std::string(rest.substr(0, end))});
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  try {
    for (const bitsmith::TaskItem& item : bitsmith::parse_task(task, files)) check_item(item);
  } catch (const bitsmith::Error& error) {
    const std::string_view message = error.what();
    check(message.size() <= 600);
    for (const char c : message) check(static_cast<unsigned char>(c) >= 0x20);
  }
  return 0;
}
