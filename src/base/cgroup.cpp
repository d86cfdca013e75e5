#include "base/cgroup.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

// The first number of a file; nothing for "max", a negative number or a file that is not there.
std::optional<uint64_t> read_number(const fs::path& file) {
  std::ifstream in(file);
  int64_t number = 0;
  if (!(in >> number) || number < 0) return {};
  return static_cast<uint64_t>(number);
}

// How many processors a list as "0-3,8" names; 0 where the file is not there or names none.
uint64_t count_processors(const fs::path& file) {
  std::ifstream in(file);
  uint64_t count = 0;
  for (std::string item; std::getline(in, item, ',');) {
    std::istringstream range(item);
    uint64_t first = 0;
    if (!(range >> first)) break;
    uint64_t last = first;
    if (char dash = 0; range >> dash) range >> last;
    if (last >= first) count += last - first + 1;
  }
  return count;
}

// The sum of the values of these keys in a file of "KEY VALUE" lines.
uint64_t sum_of(const fs::path& file, std::initializer_list<std::string_view> keys) {
  std::ifstream in(file);
  std::string key;
  uint64_t sum = 0;
  for (uint64_t value; in >> key >> value;) {
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) sum += value;
  }
  return sum;
}

void limit_cpus(std::optional<uint64_t> quota, std::optional<uint64_t> period,
                CgroupLimits& limits) {
  if (!quota || !period || *quota == 0 || *period == 0) return;
  limits.cpus = std::min(limits.cpus, static_cast<double>(*quota) / static_cast<double>(*period));
}

void limit_processors(const fs::path& file, CgroupLimits& limits) {
  const uint64_t count = count_processors(file);
  if (count > 0) limits.processors = std::min(limits.processors, static_cast<double>(count));
}

void limit_memory(std::optional<uint64_t> most, std::optional<uint64_t> used, uint64_t cache,
                  CgroupLimits& limits) {
  if (!most || !used) return;
  const uint64_t held = *used - std::min(cache, *used);
  limits.memory = std::min(limits.memory, *most - std::min(held, *most));
}

void apply_version_2(const fs::path& group, CgroupLimits& limits) {
  std::ifstream max(group / "cpu.max");  // "QUOTA PERIOD" or "max PERIOD", in microseconds
  uint64_t quota = 0, period = 0;
  if (max >> quota >> period) limit_cpus(quota, period, limits);
  limit_processors(group / "cpuset.cpus.effective", limits);
  const auto used = read_number(group / "memory.current");
  const uint64_t cache = sum_of(group / "memory.stat", {"active_file", "inactive_file"});
  limit_memory(read_number(group / "memory.max"), used, cache, limits);
  limit_memory(read_number(group / "memory.high"), used, cache, limits);  // slows down, not kills
}

void apply_version_1(const fs::path& group, CgroupLimits& limits) {
  limit_cpus(read_number(group / "cpu.cfs_quota_us"), read_number(group / "cpu.cfs_period_us"),
             limits);
  limit_processors(group / "cpuset.effective_cpus", limits);
  limit_memory(read_number(group / "memory.limit_in_bytes"),
               read_number(group / "memory.usage_in_bytes"),
               sum_of(group / "memory.stat", {"total_active_file", "total_inactive_file"}), limits);
}

bool lists(const std::string& list, std::string_view item) {
  std::istringstream in(list);
  for (std::string each; std::getline(in, each, ',');) {
    if (each == item) return true;
  }
  return false;
}

// A mounted hierarchy of groups: `top` is the group that is seen at `folder`.
struct Mount {
  bool version_2 = false;
  fs::path top, folder;
  std::string options;  // version 1: its controllers are among them
};

bool both_list(std::string_view controller, const std::string& controllers, const Mount& mount) {
  return lists(controllers, controller) && lists(mount.options, controller);
}

// Lines "ID PARENT DEVICE TOP FOLDER OPTIONS [FIELD...] - TYPE SOURCE SUPER_OPTIONS".
std::vector<Mount> read_mounts(const fs::path& root) {
  std::vector<Mount> mounts;
  std::ifstream in(root / "proc/self/mountinfo");
  for (std::string line; std::getline(in, line);) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::string skipped, top, folder, type, source, options;
    std::istringstream(line) >> skipped >> skipped >> skipped >> top >> folder;
    std::istringstream(line.substr(dash + 3)) >> type >> source >> options;
    if (type != "cgroup" && type != "cgroup2") continue;
    mounts.push_back({type == "cgroup2", top, root / fs::path(folder).relative_path(), options});
  }
  return mounts;
}

}  // namespace

CgroupLimits cgroup_limits(const fs::path& root) {
  CgroupLimits limits;
  const std::vector<Mount> mounts = read_mounts(root);
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {  // "ID:CONTROLLERS:GROUP"
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const fs::path group = line.substr(second + 1);
    for (const Mount& mount : mounts) {
      const bool here = controllers.empty()
                            ? mount.version_2
                            : !mount.version_2 && (both_list("cpu", controllers, mount) ||
                                                   both_list("memory", controllers, mount) ||
                                                   both_list("cpuset", controllers, mount));
      if (!here) continue;
      // In a container the group may lie outside of what is mounted: the mount's own is next to it.
      fs::path below = group.lexically_relative(mount.top);
      if (below.empty() || *below.begin() == "..") below = ".";
      for (fs::path at = below;; at = at.parent_path()) {
        const fs::path folder = mount.folder / at;
        mount.version_2 ? apply_version_2(folder, limits) : apply_version_1(folder, limits);
        if (at.empty() || at == ".") break;
      }
    }
  }
  return limits;
}

}  // namespace bitsmith
