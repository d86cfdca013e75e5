// What the control groups of this process (Linux cgroups, version 1 and 2) leave to it: containers,
// systemd slices and batch systems limit a process by them, and /proc/meminfo does not know.
#pragma once
#include <cstdint>
#include <filesystem>
#include <limits>

namespace bitsmith {

struct CgroupLimits {
  double cpus = std::numeric_limits<double>::infinity();        // processor time a second, above 0
  double processors = std::numeric_limits<double>::infinity();  // in the cpuset, above 0
  // Bytes that can still be taken; file cache that the system can give up counts as free.
  uint64_t memory = std::numeric_limits<uint64_t>::max();
};

// The tightest limits of the process's own groups and of all above them. Where nothing limits, or
// nothing can be read, the values are those above. `root` holds proc/self/cgroup,
// proc/self/mountinfo and what they name; tests give one of their own.
CgroupLimits cgroup_limits(const std::filesystem::path& root = "/");

}  // namespace bitsmith
