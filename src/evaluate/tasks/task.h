// Zero-shot tasks: the items of public data sets as requests to a language model, worded as in
// lm-evaluation-harness (docs/evaluation.md).
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitsmith {

// How likely is `continuation` after `context`? Neither is blank.
struct TaskRequest {
  std::string context, continuation;
};

struct TaskItem {
  std::string id;                     // the data set's own; empty where it gives none
  std::vector<TaskRequest> requests;  // one a choice, at least one
  std::vector<int64_t> lengths;       // of each choice, code points, > 0
  int64_t gold = 0;                   // the choice that is right
};

enum class TaskScoring {
  kChoice,          // how often the most likely choice is right
  kChoiceByLength,  // that, and the same with log-likelihoods divided by lengths
  kWord,            // one request: how often greedy decoding gives the word, and its perplexity
};

struct TaskFile {
  std::string path, content;
};

struct Task {
  const char* name;
  TaskScoring scoring;
  std::vector<const char*> files;  // names in the folder of the data
  // Items in the order of the files, whose number is that of `files`. Throws Error with file and
  // line.
  std::vector<TaskItem> (*parse)(std::span<const TaskFile> files);
};

std::span<const Task> all_tasks();

// Throws Error with the name of a file that is missing or far too large.
std::vector<TaskFile> read_task_files(const Task& task, const std::filesystem::path& folder);
// The same, parsed; never empty.
std::vector<TaskItem> parse_task(const Task& task, std::span<const TaskFile> files);

// The readers; each in the file of its name.
std::vector<TaskItem> parse_arc(std::span<const TaskFile> files);
std::vector<TaskItem> parse_hellaswag(std::span<const TaskFile> files);
std::vector<TaskItem> parse_piqa(std::span<const TaskFile> files);
std::vector<TaskItem> parse_winogrande(std::span<const TaskFile> files);
std::vector<TaskItem> parse_boolq(std::span<const TaskFile> files);
std::vector<TaskItem> parse_lambada(std::span<const TaskFile> files);

}  // namespace bitsmith
