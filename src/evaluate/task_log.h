// The log-likelihoods of judged items in a JSONL file, item by item, so that judging goes on where
// it was stopped. Its first line is the request that they belong to.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "evaluate/task_scoring.h"

namespace bitsmith {

class TaskLog {
 public:
  // Makes the file, or takes what is in it; a last line that a killed run left unfinished is cut
  // off. `request` holds all that determines a log-likelihood. Throws UsageError with the first
  // difference for a file of another request, Error for a damaged line, for a file that another
  // process has open, and for one that cannot be written.
  TaskLog(const std::filesystem::path& path, const OrderedJson& request);
  ~TaskLog();
  TaskLog(const TaskLog&) = delete;
  TaskLog& operator=(const TaskLog&) = delete;

  // Scores of an item, by its index in the task; nullptr where it is not judged yet. Throws Error
  // where the file has them for another number of choices.
  const std::vector<RequestScore>* find(const Task& task, int64_t index,
                                        const TaskItem& item) const;
  // One line, written at once.
  void append(const Task& task, int64_t index, const TaskItem& item,
              const std::vector<RequestScore>& scores);
  const std::filesystem::path& path() const { return path_; }

 private:
  void read(const std::string& content, const OrderedJson& request);
  void read_record(const Json& record, const std::string& place);
  void write(const std::string& line) const;

  std::filesystem::path path_;
  int fd_ = -1;
  std::map<std::pair<std::string, int64_t>, std::vector<RequestScore>> scores_;
};

}  // namespace bitsmith
