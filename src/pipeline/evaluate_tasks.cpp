#include "pipeline/evaluate_tasks.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

#include "base/error.h"
#include "base/files.h"

namespace bitsmith {
namespace {

std::string data_hash(std::span<const TaskFile> files) {
  Sha256 hash;
  for (const TaskFile& file : files) hash.update(sha256(file.content));
  return hash.finish();
}

int64_t count_tokens(std::span<const TokenRequest> requests) {
  int64_t tokens = 0;
  for (const TokenRequest& request : requests) tokens += std::ssize(request.tokens);
  return tokens;
}

}  // namespace

PreparedTasks::PreparedTasks(const EvaluateTasksJob& job, const RequestEncoder& encoder,
                             OrderedJson request) {
  for (const Task* task : job.tasks) {
    const std::vector<TaskFile> files = read_task_files(*task, job.data);
    request["task_data"][task->name] = data_hash(files);
    tasks_.push_back({task, parse_task(*task, files), {}, {}});
    std::vector<TaskItem>& items = tasks_.back().items;
    if (job.limit > 0 && job.limit < std::ssize(items))
      items.resize(static_cast<size_t>(job.limit));
  }
  if (!job.log.empty()) log_ = std::make_unique<TaskLog>(job.log, request);
  for (PreparedTask& task : tasks_) {
    task.scores.resize(task.items.size());
    task.requests.resize(task.items.size());
    for (size_t i = 0; i < task.items.size(); ++i) {
      const TaskItem& item = task.items[i];
      const auto* known = log_ ? log_->find(*task.task, static_cast<int64_t>(i), item) : nullptr;
      if (known) {
        task.scores[i] = *known;
        continue;
      }
      task.requests[i] = encoder.encode(item, concat(task.task->name, ", item ", i + 1));
      tokens_ += count_tokens(task.requests[i]);
    }
  }
}

std::vector<JudgedTask> PreparedTasks::judge(LanguageModel& model, const RunContext& run) {
  ReportedTask progress(run, "judging tasks");
  std::vector<JudgedTask> judged;
  for (PreparedTask& task : tasks_) judged.push_back(judge_task(task, model, run, progress));
  return judged;
}

JudgedTask PreparedTasks::judge_task(PreparedTask& task, LanguageModel& model,
                                     const RunContext& run, ReportedTask& progress) {
  const auto start = std::chrono::steady_clock::now();
  const size_t count = task.items.size();
  int64_t right = 0;
  for (size_t i = 0; i < count; ++i) {
    if (task.scores[i].empty()) {
      if (run.cancelled()) interrupt();
      task.scores[i] = score_requests(model, task.requests[i]);
      if (log_) log_->append(*task.task, static_cast<int64_t>(i), task.items[i], task.scores[i]);
      judged_tokens_ += count_tokens(std::exchange(task.requests[i], {}));
    }
    right += item_outcome(*task.task, task.items[i], task.scores[i]).right ? 1 : 0;
    char detail[100];
    std::snprintf(detail, sizeof(detail), "%s %zu/%zu items, acc %.3f", task.task->name, i + 1,
                  count, static_cast<double>(right) / static_cast<double>(i + 1));
    if (tokens_ > 0)
      progress.update(static_cast<double>(judged_tokens_) / static_cast<double>(tokens_), detail);
  }
  return {task.task, task_scores(*task.task, task.items, task.scores),
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
}

void PreparedTasks::interrupt() const {
  if (log_) {
    throw Interrupted(concat("judging was stopped; the items judged so far are in ",
                             log_->path().string(), ", and the same command goes on with them"));
  }
  throw Interrupted(
      "judging was stopped; nothing of it is kept: with --task-log FILE the same command would go "
      "on where it stopped");
}

}  // namespace bitsmith
