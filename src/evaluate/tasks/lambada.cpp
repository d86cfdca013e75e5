// LAMBADA in OpenAI's version: {"text"} a line, whose last word is to be guessed, or split already,
// {"context", "continuation"}.
#include "base/error.h"
#include "evaluate/tasks/task_lines.h"

namespace bitsmith {
namespace {

TaskItem lambada_item(const TaskRecord& record) {
  std::string context, word;
  if (record.value.contains("text")) {
    const std::string text = record.text("text");
    const size_t space = text.rfind(' ');
    if (space != std::string::npos) context = text.substr(0, space);
    word = text.substr(context.empty() ? 0 : space + 1);
    check_not_blank(context, "the text before the last space", record.place);
    check_not_blank(word, "the text after the last space", record.place);
  } else {
    context = record.text("context");
    word = record.text("continuation");
  }
  TaskItem item;
  item.requests = {{context, " " + word}};
  item.lengths = {code_points(word)};
  return item;
}

}  // namespace

std::vector<TaskItem> parse_lambada(std::span<const TaskFile> files) {
  std::vector<TaskItem> items;
  for (const TaskRecord& record : task_records(files[0])) items.push_back(lambada_item(record));
  return items;
}

}  // namespace bitsmith
