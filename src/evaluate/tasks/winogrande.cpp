// WinoGrande: {"qID", "sentence" with a gap "_", "option1", "option2", "answer": "1" or "2"} a
// line. Judged by halves: how likely is what follows the gap, after each way to fill it?
#include "base/error.h"
#include "evaluate/tasks/task_lines.h"
#include "evaluate/white_space.h"

namespace bitsmith {
namespace {

TaskItem winogrande_item(const TaskRecord& record) {
  const std::string sentence = record.text("sentence"), answer = record.text("answer");
  if (answer != "1" && answer != "2") {
    throw Error(concat(record.place, ": 'answer' is neither \"1\" nor \"2\": ", excerpt(answer)));
  }
  const size_t gap = sentence.find('_');
  if (gap == std::string::npos)
    throw Error(concat(record.place, ": 'sentence' has no gap, \"_\": ", excerpt(sentence)));
  const std::string_view rest = strip(std::string_view(sentence).substr(gap + 1));
  check_not_blank(rest, "what follows the gap", record.place);
  TaskItem item;
  item.id = record.text_or_empty("qID");
  item.gold = answer == "2" ? 1 : 0;
  for (const char* key : {"option1", "option2"}) {
    const std::string filled = sentence.substr(0, gap) + record.text(key);
    item.requests.push_back({filled, concat(" ", rest)});
    item.lengths.push_back(code_points(filled));
  }
  return item;
}

}  // namespace

std::vector<TaskItem> parse_winogrande(std::span<const TaskFile> files) {
  std::vector<TaskItem> items;
  for (const TaskRecord& record : task_records(files[0])) items.push_back(winogrande_item(record));
  return items;
}

}  // namespace bitsmith
