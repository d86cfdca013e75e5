// The lines of a task's file, and records of JSON on them.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "evaluate/tasks/task.h"

namespace bitsmith {

struct TaskLine {
  std::string_view text;  // of the file's content, without the end of line
  const std::string* path;
  size_t number;  // from 1

  std::string place() const;  // "FILE, line 7"
};

// All lines but blank ones at the end; they refer to the file. A byte order mark is skipped. Throws
// Error for bytes that are not UTF-8.
std::vector<TaskLine> task_lines(const TaskFile& file);

// An object and where it stands.
struct TaskRecord {
  Json value;
  std::string place;

  // Each throws Error where the key is missing or has another type; text() also where the text is
  // blank.
  std::string text(const char* key) const;
  TaskRecord object(const char* key) const;
  std::vector<TaskRecord> objects(const char* key) const;
  // Unchanged; empty where the key is missing.
  std::string text_or_empty(const char* key) const;
};

// The objects of a .jsonl file, one a line; blank lines are skipped.
std::vector<TaskRecord> task_records(const TaskFile& file);

void check_not_blank(std::string_view text, const std::string& what, const std::string& place);
int64_t code_points(std::string_view text);

}  // namespace bitsmith
