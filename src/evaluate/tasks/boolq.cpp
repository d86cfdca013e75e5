// BoolQ: {"question", "title", "passage", "answer": true or false} a line. The harness reads
// SuperGLUE's copy, whose passages begin with the title.
#include "evaluate/tasks/task_lines.h"

namespace bitsmith {
namespace {

TaskItem boolq_item(const TaskRecord& record) {
  const std::string title = record.text_or_empty("title");
  const std::string passage = (title.empty() ? "" : title + " -- ") + record.text("passage");
  const std::string context = passage + "\nQuestion: " + record.text("question") + "?\nAnswer:";
  TaskItem item;
  item.requests = {{context, " no"}, {context, " yes"}};
  item.lengths = {2, 3};
  item.gold = json_get<bool>(record.value, "answer", record.place) ? 1 : 0;
  return item;
}

}  // namespace

std::vector<TaskItem> parse_boolq(std::span<const TaskFile> files) {
  std::vector<TaskItem> items;
  for (const TaskRecord& record : task_records(files[0])) items.push_back(boolq_item(record));
  return items;
}

}  // namespace bitsmith
