// ARC, Easy and Challenge, as the Allen Institute publishes it: {"id", "question": {"stem",
// "choices": [{"text", "label"}, ...]}, "answerKey"} a line.
#include "base/error.h"
#include "evaluate/tasks/task_lines.h"

namespace bitsmith {
namespace {

constexpr size_t kMostChoices = 26;

TaskItem arc_item(const TaskRecord& record) {
  const TaskRecord question = record.object("question");
  const std::string answer = record.text("answerKey");
  const std::vector<TaskRecord> choices = question.objects("choices");
  if (choices.size() < 2 || choices.size() > kMostChoices) {
    throw Error(
        concat(question.place, ": ", choices.size(), " choices, expected 2 to ", kMostChoices));
  }
  TaskItem item;
  item.id = record.text_or_empty("id");
  item.gold = -1;
  const std::string context = "Question: " + question.text("stem") + "\nAnswer:";
  for (const TaskRecord& choice : choices) {
    const std::string text = choice.text("text");
    if (item.gold < 0 && choice.text("label") == answer) item.gold = std::ssize(item.requests);
    item.requests.push_back({context, " " + text});
    item.lengths.push_back(code_points(text));
  }
  if (item.gold < 0) {
    throw Error(
        concat(record.place, ": no choice has the label of 'answerKey', ", excerpt(answer)));
  }
  return item;
}

}  // namespace

std::vector<TaskItem> parse_arc(std::span<const TaskFile> files) {
  std::vector<TaskItem> items;
  for (const TaskRecord& record : task_records(files[0])) items.push_back(arc_item(record));
  return items;
}

}  // namespace bitsmith
