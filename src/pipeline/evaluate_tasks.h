// Judging a model on zero-shot tasks.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/run_context.h"
#include "evaluate/task_log.h"
#include "evaluate/task_scoring.h"
#include "evaluate/tasks/task.h"

namespace bitsmith {

struct EvaluateTasksJob {
  std::vector<const Task*> tasks;  // of all_tasks(); empty: no tasks
  std::filesystem::path data;      // the folder that holds their files
  int64_t limit = 0;               // of each task, the first N items; 0: all
  std::filesystem::path log;       // a TaskLog that is kept and gone on with; empty: none
};

struct JudgedTask {
  const Task* task = nullptr;
  TaskScores scores;
  double seconds = 0;  // of this run; items from the log took none
};

// Tasks that are read, and whose items that the log lacks are tokens.
class PreparedTasks {
 public:
  // Throws Error for files that are missing or damaged, and as RequestEncoder and TaskLog do.
  // `request` is what the log adds to the hashes of the tasks' data: all else that determines a
  // log-likelihood.
  PreparedTasks(const EvaluateTasksJob& job, const RequestEncoder& encoder, OrderedJson request);

  // Throws Interrupted after the item in which the work was cancelled.
  std::vector<JudgedTask> judge(LanguageModel& model, const RunContext& run);

 private:
  struct PreparedTask {
    const Task* task;
    std::vector<TaskItem> items;
    std::vector<std::vector<RequestScore>> scores;    // of each item; empty: to be judged
    std::vector<std::vector<TokenRequest>> requests;  // of each item that is to be judged
  };

  JudgedTask judge_task(PreparedTask& task, LanguageModel& model, const RunContext& run,
                        ReportedTask& progress);
  [[noreturn]] void interrupt() const;

  std::unique_ptr<TaskLog> log_;
  std::vector<PreparedTask> tasks_;
  int64_t tokens_ = 0, judged_tokens_ = 0;  // of all requests that are to be judged
};

}  // namespace bitsmith
