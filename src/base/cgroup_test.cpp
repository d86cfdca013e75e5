#include "base/cgroup.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>

#include "base/files.h"
#include "base/thread_pool.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

// A root folder with files of its own.
class CgroupTest : public testing::Test {
 protected:
  CgroupTest() { fs::remove_all(root_); }
  ~CgroupTest() override { fs::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  CgroupLimits limits() const { return cgroup_limits(root_); }

 private:
  fs::path root_ = fs::path(testing::TempDir()) / ("cgroup_" + std::to_string(::getpid()));
};

constexpr const char* kVersion2 =
    "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
    "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

TEST_F(CgroupTest, NothingLimits) {
  EXPECT_TRUE(std::isinf(limits().cpus));  // no /proc at all
  write("proc/self/mountinfo", kVersion2);
  write("proc/self/cgroup", "0::/user.slice/a.scope\n");
  write("sys/fs/cgroup/user.slice/a.scope/cpu.max", "max 100000\n");
  write("sys/fs/cgroup/user.slice/a.scope/memory.max", "max\n");
  write("sys/fs/cgroup/user.slice/a.scope/memory.current", "1000\n");
  EXPECT_TRUE(std::isinf(limits().cpus));
  EXPECT_EQ(limits().memory, UINT64_MAX);
}

TEST_F(CgroupTest, Version2TakesTheTightestGroupUpToTheMount) {
  write("proc/self/mountinfo", kVersion2);
  write("proc/self/cgroup", "0::/batch/job/step\n");
  const std::string top = "sys/fs/cgroup/";
  write(top + "batch/job/step/cpu.max", "400000 100000\n");
  write(top + "batch/job/cpu.max", "max 100000\n");
  write(top + "batch/cpu.max", "150000 100000\n");
  write(top + "batch/job/step/memory.max", "max\n");
  write(top + "batch/job/memory.max", "1000000\n");
  write(top + "batch/job/memory.current", "700000\n");
  write(top + "batch/job/memory.stat",
        "anon 300000\nfile 400000\nactive_file 100000\ninactive_file 250000\nshmem 50000\n");
  EXPECT_DOUBLE_EQ(limits().cpus, 1.5);
  EXPECT_EQ(limits().memory, 650000u);
  EXPECT_TRUE(std::isinf(limits().processors));
  write(top + "cpuset.cpus.effective", "0-63\n");
  write(top + "batch/cpuset.cpus.effective", "0-3,8,12-13\n");
  EXPECT_DOUBLE_EQ(limits().processors, 7);
  write(top + "batch/memory.high", "500000\n");  // more is used than it allows
  write(top + "batch/memory.current", "900000\n");
  EXPECT_EQ(limits().memory, 0u);
}

TEST_F(CgroupTest, Version2InAContainer) {  // its namespace shows its own group as /
  write("proc/self/mountinfo", kVersion2);
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/cpu.max", "50000 100000\n");
  write("sys/fs/cgroup/memory.max", "2000\n");
  write("sys/fs/cgroup/memory.current", "500\n");
  EXPECT_DOUBLE_EQ(limits().cpus, 0.5);
  EXPECT_EQ(limits().memory, 1500u);
  write("proc/self/cgroup", "0::/../../other\n");
  EXPECT_DOUBLE_EQ(limits().cpus, 0.5);
}

TEST_F(CgroupTest, Version1) {
  write("proc/self/mountinfo",
        "30 22 0:26 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
        "31 22 0:27 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
        "32 22 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
        "33 22 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  write("proc/self/cgroup",
        "5:cpuset:/elsewhere\n4:memory:/docker/abc/inner\n3:cpu,cpuacct:/docker/abc\n"
        "0::/docker/abc\n");
  write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
  write("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "300000\n");
  write("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
  write("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/memory/inner/memory.usage_in_bytes", "100\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "5000\n");
  write("sys/fs/cgroup/memory/memory.usage_in_bytes", "4000\n");
  write("sys/fs/cgroup/memory/memory.stat",
        "active_file 9\ntotal_active_file 300\ntotal_inactive_file 700\n");
  EXPECT_DOUBLE_EQ(limits().cpus, 3);
  write("sys/fs/cgroup/cpuset/elsewhere/cpuset.effective_cpus", "5\n");
  EXPECT_DOUBLE_EQ(limits().processors, 1);
  EXPECT_EQ(limits().memory, 2000u);
}

TEST_F(CgroupTest, OddFilesDoNotLimit) {
  write("proc/self/mountinfo", std::string(kVersion2) + "no dash\n\n - \n");
  write("proc/self/cgroup", "no colons\n0:\n0::/a\n");
  write("sys/fs/cgroup/a/cpu.max", "0 0\n");
  write("sys/fs/cgroup/a/memory.max", "\n");
  write("sys/fs/cgroup/a/cpuset.cpus.effective", "\n");
  EXPECT_TRUE(std::isinf(limits().cpus));
  EXPECT_TRUE(std::isinf(limits().processors));
  EXPECT_EQ(limits().memory, UINT64_MAX);
}

TEST_F(CgroupTest, TheProgramAsksForThem) {
  const CgroupLimits limits = cgroup_limits();
  EXPECT_GE(default_threads(), 1);
  EXPECT_LE(default_threads(), std::ceil(limits.cpus));
  EXPECT_GT(available_memory_bytes(), 0u);
  EXPECT_LE(available_memory_bytes() >> 1, limits.memory);  // it moves meanwhile
}

}  // namespace
}  // namespace bitsmith
