#include "evaluate/tasks/task.h"

#include "base/error.h"
#include "base/files.h"

namespace bitsmith {
namespace {

constexpr uint64_t kMostBytes = 64 << 20;  // the public sets have a few MB

std::string file_names(const Task& task) {
  std::string names;
  for (const char* file : task.files) names += concat(names.empty() ? "" : " and ", file);
  return names;
}

}  // namespace

std::span<const Task> all_tasks() {
  static const std::vector<Task> tasks = {
      {"arc_easy", TaskScoring::kChoiceByLength, {"arc_easy_test.jsonl"}, parse_arc},
      {"arc_challenge", TaskScoring::kChoiceByLength, {"arc_challenge_test.jsonl"}, parse_arc},
      {"hellaswag", TaskScoring::kChoiceByLength, {"hellaswag_val.txt"}, parse_hellaswag},
      {"piqa",
       TaskScoring::kChoiceByLength,
       {"piqa_valid.jsonl", "piqa_valid_labels.lst"},
       parse_piqa},
      {"winogrande", TaskScoring::kChoice, {"winogrande_dev.jsonl"}, parse_winogrande},
      {"boolq", TaskScoring::kChoice, {"boolq_dev.jsonl"}, parse_boolq},
      {"lambada_openai", TaskScoring::kWord, {"lambada_openai_test.jsonl"}, parse_lambada},
  };
  return tasks;
}

std::vector<TaskFile> read_task_files(const Task& task, const std::filesystem::path& folder) {
  std::vector<TaskFile> files;
  for (const char* name : task.files) {
    const std::filesystem::path path = folder / name;
    if (!std::filesystem::exists(path)) {
      throw Error(concat(path.string(), " is missing: ", task.name, " is read from ",
                         file_names(task), " in the folder of --task-data; docs/evaluation.md ",
                         "says what they hold"));
    }
    std::error_code error;  // of what has no size reading tells more
    const auto size = std::filesystem::file_size(path, error);
    if (!error && size > kMostBytes) {
      throw Error(concat(path.string(), " has ", size, " bytes, more than the ", kMostBytes,
                         " that a task's file may have"));
    }
    files.push_back({path.string(), read_text_file(path)});
  }
  return files;
}

std::vector<TaskItem> parse_task(const Task& task, std::span<const TaskFile> files) {
  BITSMITH_CHECK(files.size() == task.files.size());
  std::vector<TaskItem> items = task.parse(files);
  if (items.empty()) throw Error(concat(files[0].path, ": the file holds no items"));
  return items;
}

}  // namespace bitsmith
