#include "base/files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "base/error.h"

namespace bitsmith {
namespace {

class FilesTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              concat("bitsmith_files_test_", getpid(), "_", info->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  size_t files_in_folder() const {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_)) ++count;
    return count;
  }

  // The message of the Error that `action` must throw.
  template <typename Action>
  static std::string message_of(Action action) {
    try {
      action();
    } catch (const Error& error) {
      return error.what();
    }
    ADD_FAILURE() << "no Error";
    return "";
  }

  std::filesystem::path folder_;
};

TEST_F(FilesTest, ReleasedPagesComeBack) {
  const std::string text(100'000, 'x');
  write_file_atomic(folder_ / "file", text);
  const auto file = MappedFile::open(folder_ / "file");
  const std::span<const std::byte> bytes = file->bytes();
  EXPECT_EQ(sha256(bytes), sha256(text));
  file->release(bytes);
  file->release(bytes.subspan(5, 10));
  EXPECT_EQ(sha256(bytes), sha256(text));
  // What lies elsewhere is left alone.
  std::string other(100'000, 'y');
  file->release(std::as_bytes(std::span(other)));
  EXPECT_EQ(other, std::string(100'000, 'y'));
}

TEST_F(FilesTest, NothingIsThereBeforeCommitAndAllAfter) {
  const auto path = folder_ / "result";
  AtomicFile file(path);
  file.write("first ");
  file.write(std::as_bytes(std::span("second", 6)));
  EXPECT_FALSE(std::filesystem::exists(path));
  file.commit();
  EXPECT_EQ(read_text_file(path), "first second");
  EXPECT_EQ(files_in_folder(), 1u);
}

TEST_F(FilesTest, WithoutCommitTheOldFileStaysAndNothingIsLeft) {
  const auto path = folder_ / "result";
  write_file_atomic(path, "old");
  { AtomicFile(path).write("new"); }
  EXPECT_EQ(read_text_file(path), "old");
  EXPECT_EQ(files_in_folder(), 1u);
  write_file_atomic(path, "new");
  EXPECT_EQ(read_text_file(path), "new");
}

TEST_F(FilesTest, ErrorsNameThePathAndTheReason) {
  const auto missing = folder_ / "missing" / "file";
  const std::string create = message_of([&] { AtomicFile file(missing); });
  EXPECT_NE(create.find(missing.string()), std::string::npos) << create;
  EXPECT_NE(create.find("No such file"), std::string::npos) << create;
  EXPECT_NE(message_of([&] { MappedFile::open(missing); }).find("No such file"), std::string::npos);
  EXPECT_NE(message_of([&] { MappedFile::open(folder_); }).find("directory"), std::string::npos);
  // A rename onto a directory fails; the temporary file goes all the same.
  std::filesystem::create_directory(folder_ / "taken");
  message_of([&] { write_file_atomic(folder_ / "taken", "text"); });
  EXPECT_EQ(files_in_folder(), 1u);
}

TEST_F(FilesTest, ADiskWithoutRoomIsAnErrorAndLeavesNothing) {
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small = {2, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message = message_of([&] { write_file_atomic(folder_ / "full", "text"); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(message.find((folder_ / "full").string()), std::string::npos) << message;
  EXPECT_NE(message.find("too large"), std::string::npos) << message;
  EXPECT_EQ(files_in_folder(), 0u);
}

TEST_F(FilesTest, MappedFilesOutliveTheNameAndMayBeEmpty) {
  write_file_atomic(folder_ / "data", "bytes");
  const auto file = MappedFile::open(folder_ / "data");
  std::filesystem::remove(folder_ / "data");
  EXPECT_EQ(file->bytes().size(), 5u);
  EXPECT_EQ(file->bytes()[1], std::byte{'y'});
  write_file_atomic(folder_ / "empty", "");
  EXPECT_TRUE(MappedFile::open(folder_ / "empty")->bytes().empty());
}

TEST_F(FilesTest, Sha256OfTheStandardsExamples) {  // FIPS 180-2, appendix B
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const std::string long_text(1000, 'a');
  Sha256 pieces;
  for (size_t i = 0; i < long_text.size(); i += 7) {
    pieces.update(std::string_view(long_text).substr(i, 7));
  }
  EXPECT_EQ(pieces.finish(), sha256(long_text));
}

TEST_F(FilesTest, MachineFiguresArePlausible) {
  EXPECT_GT(free_disk_bytes(folder_ / "not" / "yet" / "there"), 0u);
  EXPECT_GT(available_memory_bytes(), uint64_t{1} << 20);
  EXPECT_GT(peak_memory_bytes(), uint64_t{1} << 20);
}

}  // namespace
}  // namespace bitsmith
