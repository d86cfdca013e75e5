#include "compressor/quantize/work_folder.h"

#include <vector>

#include "base/error.h"
#include "base/files.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

// Names the first thing in which two recipes differ.
std::string first_difference(const OrderedJson& a, const OrderedJson& b) {
  for (const auto& [key, value] : a.items()) {
    if (!b.contains(key)) return key;
    if (value == b.at(key)) continue;
    return value.is_object() && b.at(key).is_object()
               ? key + "." + first_difference(value, b.at(key))
               : concat(key, " ", b.at(key).dump(), " then, ", value.dump(), " now");
  }
  return "more options";
}

}  // namespace

WorkFolder::WorkFolder(const fs::path& out, OrderedJson recipe)
    : path_(out.string() + ".partial"), recipe_(std::move(recipe)) {}

std::string WorkFolder::hash() const { return sha256(recipe_.dump()); }

fs::path WorkFolder::parts_file(const std::string& name) const {
  return path_ / (name + ".safetensors");
}

fs::path WorkFolder::finished_file() const { return path_ / "finished.json"; }

uint64_t WorkFolder::bytes() const {
  uint64_t total = 0;
  if (!fs::exists(path_)) return 0;
  for (const auto& entry : fs::recursive_directory_iterator(path_))
    if (entry.is_regular_file()) total += entry.file_size();
  return total;
}

void WorkFolder::check() const {
  if (!fs::exists(path_)) return;
  const fs::path file = path_ / "recipe.json";
  if (!fs::exists(file)) {
    for (const auto& entry : fs::directory_iterator(path_)) {
      if (entry.path().extension() != ".tmp" && entry.path() != finished_file())
        throw UsageError(concat(path_.string(), " is in the way and not work of this command: ",
                                "delete it or choose another output"));
    }
    return;
  }
  OrderedJson other;  // stays null when unreadable
  try {
    other = parse_ordered_json(read_text_file(file), file.string());
  } catch (const Error&) {
  }
  if (other != recipe_)
    throw UsageError(
        concat(path_.string(), " holds the unfinished work of another command (",
               other.is_object() ? first_difference(recipe_, other) : "unreadable recipe.json",
               "): finish it with that command, delete it, or choose another output"));
}

void WorkFolder::begin() const {
  fs::create_directories(path_);
  if (!fs::exists(path_ / "recipe.json")) write_json_file(path_ / "recipe.json", recipe_);
}

bool WorkFolder::is_published(const fs::path& out) const {
  if (!fs::exists(finished_file()) || !fs::exists(out / "bitsmith.json")) return false;
  const std::string text = read_text_file(out / "bitsmith.json");
  if (text != read_text_file(finished_file())) return false;
  const OrderedJson published = parse_ordered_json(text, (out / "bitsmith.json").string());
  for (const auto& [key, value] : recipe_.items())
    if (!published.contains(key) || published.at(key) != value) return false;
  return true;
}

void WorkFolder::remove() const {
  std::vector<fs::path> rest;
  for (const auto& entry : fs::directory_iterator(path_))
    if (entry.path() != finished_file()) rest.push_back(entry.path());
  for (const fs::path& entry : rest) fs::remove_all(entry);
  fs::remove_all(path_);
}

}  // namespace bitsmith
