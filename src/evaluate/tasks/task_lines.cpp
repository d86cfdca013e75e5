#include "evaluate/tasks/task_lines.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "evaluate/white_space.h"

namespace bitsmith {
namespace {

void check_is_utf8(const TaskLine& line) {
  for (std::string_view text = line.text; !text.empty();) {
    const Utf8Unit unit = next_utf8(text);
    if (unit.state != Utf8Unit::State::kWhole) {
      throw Error(concat(line.place(), ": bytes that are not UTF-8: ", excerpt(text.substr(0, 20)),
                         "; unpack or convert the file"));
    }
    text.remove_prefix(static_cast<size_t>(unit.length));
  }
}

Json parse_object(const TaskLine& line) {
  const std::string place = line.place();
  try {
    Json value = parse_json(line.text, place);
    if (value.is_object()) return value;
  } catch (const Error& error) {  // the parser's message may hold the whole line
    throw Error(excerpt(error.what(), place.size() + 200));
  }
  throw Error(concat(place, ": expected one JSON object; found: ", excerpt(line.text, 60)));
}

}  // namespace

std::string TaskLine::place() const { return concat(*path, ", line ", number); }

std::vector<TaskLine> task_lines(const TaskFile& file) {
  std::string_view rest = file.content;
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
  std::vector<TaskLine> lines;
  for (size_t number = 1; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view text = rest.substr(0, end);
    if (text.ends_with('\r')) text.remove_suffix(1);
    lines.push_back({text, &file.path, number});
    check_is_utf8(lines.back());
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  while (!lines.empty() && strip(lines.back().text).empty()) lines.pop_back();
  return lines;
}

std::string TaskRecord::text(const char* key) const {
  const auto text = json_get<std::string>(value, key, place);
  check_not_blank(text, concat("'", key, "'"), place);
  return text;
}

std::string TaskRecord::text_or_empty(const char* key) const {
  return json_get_or<std::string>(value, key, "", place);
}

TaskRecord TaskRecord::object(const char* key) const {
  TaskRecord inner = {json_get<Json>(value, key, place), concat(place, ", '", key, "'")};
  if (!inner.value.is_object())
    throw Error(concat(inner.place, ": expected an object: ", json_excerpt(inner.value)));
  return inner;
}

std::vector<TaskRecord> TaskRecord::objects(const char* key) const {
  const auto list = json_get<Json>(value, key, place);
  const std::string where = concat(place, ", '", key, "'");
  if (!list.is_array()) throw Error(concat(where, ": expected a list: ", json_excerpt(list)));
  std::vector<TaskRecord> records;
  for (const Json& entry : list) {
    records.push_back({entry, concat(where, " ", records.size() + 1)});
    if (!entry.is_object())
      throw Error(concat(records.back().place, ": expected an object: ", json_excerpt(entry)));
  }
  return records;
}

std::vector<TaskRecord> task_records(const TaskFile& file) {
  std::vector<TaskRecord> records;
  for (const TaskLine& line : task_lines(file)) {
    if (!strip(line.text).empty()) records.push_back({parse_object(line), line.place()});
  }
  return records;
}

void check_not_blank(std::string_view text, const std::string& what, const std::string& place) {
  if (strip(text).empty()) throw Error(concat(place, ": ", what, " is blank"));
}

int64_t code_points(std::string_view text) {
  return std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0u) != 0x80u; });
}

}  // namespace bitsmith
