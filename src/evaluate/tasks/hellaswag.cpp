// HellaSwag as the text that llama.cpp reads, already cleaned, 6 lines an item: "activity:
// context", the number of the right ending (0-3), four endings.
#include "base/error.h"
#include "evaluate/tasks/task_lines.h"

namespace bitsmith {
namespace {

constexpr size_t kEndings = 4, kLines = 2 + kEndings;

int64_t hellaswag_gold(const TaskLine& line) {
  if (line.text.size() != 1 || line.text[0] < '0' || line.text[0] >= '0' + int{kEndings}) {
    throw Error(concat(line.place(), ": expected the number of the right ending, 0 to ",
                       kEndings - 1, "; found: ", excerpt(line.text, 60)));
  }
  return line.text[0] - '0';
}

}  // namespace

std::vector<TaskItem> parse_hellaswag(std::span<const TaskFile> files) {
  const std::vector<TaskLine> lines = task_lines(files[0]);
  std::vector<TaskItem> items;
  for (size_t first = 0; first < lines.size(); first += kLines) {
    if (lines.size() - first < kLines) {
      throw Error(concat(lines[first].place(), ": the last item has ", lines.size() - first,
                         " lines, expected ", kLines));
    }
    const TaskLine& context = lines[first];
    check_not_blank(context.text, "the context", context.place());
    TaskItem item;
    item.gold = hellaswag_gold(lines[first + 1]);
    for (size_t i = 0; i < kEndings; ++i) {
      const TaskLine& ending = lines[first + 2 + i];
      check_not_blank(ending.text, "the ending", ending.place());
      item.requests.push_back({std::string(context.text), concat(" ", ending.text)});
      item.lengths.push_back(code_points(ending.text));
    }
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace bitsmith
