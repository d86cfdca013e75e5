#include "evaluate/task_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/files.h"

namespace bitsmith {
namespace {

std::string difference(const Json& mine, const Json& theirs) {
  for (const auto& [key, value] : mine.items()) {
    if (!theirs.contains(key)) return concat(excerpt(key), " is not there");
    const Json& other = theirs.at(key);
    if (value == other) continue;
    if (value.is_object() && other.is_object())
      return concat(excerpt(key), ".", difference(value, other));
    return concat(excerpt(key), " is ", json_excerpt(other), " there, ", json_excerpt(value),
                  " here");
  }
  return "more is there than asked for";
}

}  // namespace

TaskLog::TaskLog(const std::filesystem::path& path, const OrderedJson& request) : path_(path) {
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) throw Error(concat("cannot open ", path.string(), ": ", std::strerror(errno)));
  try {
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0)
      throw Error(concat(path.string(), " is in use by another process"));
    read(read_text_file(path), request);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

TaskLog::~TaskLog() { ::close(fd_); }

void TaskLog::read(const std::string& content, const OrderedJson& request) {
  const std::string header = request.dump() + "\n";
  if (header.starts_with(content) && content.size() < header.size()) {  // new, or killed at once
    if (::ftruncate(fd_, 0) != 0)
      throw Error(concat("cannot write ", path_.string(), ": ", std::strerror(errno)));
    return write(header);
  }
  size_t number = 0, begin = 0;
  for (size_t end; (end = content.find('\n', begin)) != content.npos; begin = end + 1) {
    const std::string_view line = std::string_view(content).substr(begin, end - begin);
    const std::string place = concat(path_.string(), ", line ", ++number);
    if (number > 1) {
      read_record(parse_json(line, place), place);
      continue;
    }
    const Json mine = request;
    const Json theirs = Json::accept(line) ? parse_json(line, place) : Json();
    if (mine != theirs) {
      throw UsageError(concat(
          path_.string(), theirs.is_object() ? " belongs to another request: " : " is no task log",
          theirs.is_object() ? difference(mine, theirs) : "", "; give --task-log another name"));
    }
  }
  if (number == 0)
    throw UsageError(concat(path_.string(), " is no task log; give --task-log another name"));
  if (begin < content.size() && ::ftruncate(fd_, static_cast<off_t>(begin)) != 0)
    throw Error(concat("cannot write ", path_.string(), ": ", std::strerror(errno)));
}

void TaskLog::read_record(const Json& record, const std::string& place) {
  const auto values = json_get<std::vector<double>>(record, "loglikelihoods", place);
  const auto greedy = json_get<std::vector<bool>>(record, "greedy", place);
  std::vector<RequestScore> scores;
  for (size_t i = 0; i < values.size() && i < greedy.size(); ++i) {
    scores.push_back({values[i], greedy[i]});
    if (!std::isfinite(values[i])) throw Error(concat(place, ": a log-likelihood is infinite"));
  }
  if (values.empty() || values.size() != greedy.size())
    throw Error(concat(place, ": 'loglikelihoods' and 'greedy' are not equally long"));
  scores_[{json_get<std::string>(record, "task", place),
           json_get<int64_t>(record, "item", place)}] = std::move(scores);
}

const std::vector<RequestScore>* TaskLog::find(const Task& task, int64_t index,
                                               const TaskItem& item) const {
  const auto found = scores_.find({task.name, index});
  if (found == scores_.end()) return nullptr;
  if (found->second.size() != item.requests.size()) {
    throw Error(concat(path_.string(), ": item ", index, " of ", task.name, " has ",
                       found->second.size(), " log-likelihoods, but ", item.requests.size(),
                       " choices"));
  }
  return &found->second;
}

void TaskLog::append(const Task& task, int64_t index, const TaskItem& item,
                     const std::vector<RequestScore>& scores) {
  OrderedJson record = {{"task", task.name}, {"item", index}};
  if (!item.id.empty()) record["id"] = item.id;
  std::vector<double> values;
  std::vector<bool> greedy;
  for (const RequestScore& score : scores) {
    values.push_back(score.log_likelihood);
    greedy.push_back(score.greedy);
  }
  record["loglikelihoods"] = values;
  record["lengths"] = item.lengths;
  record["greedy"] = greedy;
  record["gold"] = item.gold;
  write(record.dump() + "\n");
}

void TaskLog::write(const std::string& line) const {
  for (size_t done = 0; done < line.size();) {
    const ssize_t count = ::write(fd_, line.data() + done, line.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw Error(concat("cannot write ", path_.string(), ": ", std::strerror(errno)));
    done += static_cast<size_t>(count);
  }
}

}  // namespace bitsmith
