// PIQA: {"goal", "sol1", "sol2"} a line, and in a second file the label of each line, 0 or 1.
#include "base/error.h"
#include "evaluate/tasks/task_lines.h"
#include "evaluate/white_space.h"

namespace bitsmith {

std::vector<TaskItem> parse_piqa(std::span<const TaskFile> files) {
  const std::vector<TaskRecord> records = task_records(files[0]);
  const std::vector<TaskLine> labels = task_lines(files[1]);
  if (records.size() != labels.size()) {
    throw Error(concat(files[0].path, " has ", records.size(), " items, but ", files[1].path,
                       " has ", labels.size(), " labels"));
  }
  std::vector<TaskItem> items;
  for (size_t i = 0; i < records.size(); ++i) {
    const std::string_view label = strip(labels[i].text);
    if (label != "0" && label != "1") {
      throw Error(concat(labels[i].place(),
                         ": expected the label 0 or 1; found: ", excerpt(labels[i].text, 60)));
    }
    TaskItem item;
    item.id = records[i].text_or_empty("id");
    item.gold = label == "1" ? 1 : 0;
    const std::string context = "Question: " + records[i].text("goal") + "\nAnswer:";
    for (const char* key : {"sol1", "sol2"}) {
      const std::string solution = records[i].text(key);
      item.requests.push_back({context, " " + solution});
      item.lengths.push_back(code_points(solution));
    }
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace bitsmith
