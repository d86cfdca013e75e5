#include "base/mapping_faults.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>

#include <fstream>
#include <thread>
#include <vector>

#include "base/files.h"

namespace bitsmith {
namespace {

class MappingFaultsDeathTest : public testing::Test {
 protected:
  MappingFaultsDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  ~MappingFaultsDeathTest() override { std::filesystem::remove(path_); }
  void write() const { std::ofstream(path_) << std::string(1 << 20, 'x'); }

  std::filesystem::path path_ =
      std::filesystem::path(testing::TempDir()) / (std::to_string(::getpid()) + "_mapped\nfile");
};

TEST_F(MappingFaultsDeathTest, ATruncatedFileIsAMessage) {
  write();
  const auto read_truncated = [&] {
    install_mapping_fault_handler();
    const auto other = MappedFile::open(path_);
    const auto file = MappedFile::open(path_);
    std::filesystem::resize_file(path_, 5000);
    std::thread([&] { std::exit(static_cast<int>(file->bytes()[1 << 19])); }).join();
  };
  EXPECT_EXIT(read_truncated(), testing::ExitedWithCode(1),
              "bitsmith: cannot read .*mapped\\?file: the file was truncated while it was read");
}

TEST_F(MappingFaultsDeathTest, OtherBusErrorsKeepTheirMeaning) {
  write();
  const auto raise_it = [] {
    install_mapping_fault_handler();
    ::raise(SIGBUS);
  };
  EXPECT_EXIT(raise_it(), testing::KilledBySignal(SIGBUS), "");
  const auto read_closed = [&] {
    install_mapping_fault_handler();
    MappedFile::open(path_);  // its place in the table is free again
    const int fd = ::open(path_.c_str(), O_RDONLY);
    const auto* data =
        static_cast<const char*>(::mmap(nullptr, 1 << 20, PROT_READ, MAP_PRIVATE, fd, 0));
    std::filesystem::resize_file(path_, 5000);
    std::exit(data[1 << 19]);
  };
  EXPECT_EXIT(read_closed(), testing::KilledBySignal(SIGBUS), "");
}

TEST(MappingFaults, ManyThreadsRegister) {
  const char bytes[100] = {};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        std::vector<MappingRegistration> some;
        for (int k = 0; k < 10; ++k) some.emplace_back(bytes, sizeof(bytes), "name");
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace bitsmith
