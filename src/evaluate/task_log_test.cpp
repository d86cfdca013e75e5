#include "evaluate/task_log.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error.h"

namespace bitsmith {
namespace {

class TaskLogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ =
        std::filesystem::temp_directory_path() / concat("bitsmith_task_log_", ::getpid(), ".jsonl");
    std::filesystem::remove(path_);
    item_.id = "Q7";
    item_.requests = {{"c", "x"}, {"c", "y"}};
    item_.lengths = {1, 1};
  }
  void TearDown() override { std::filesystem::remove(path_); }

  std::string content() const {
    std::ostringstream text;
    text << std::ifstream(path_).rdbuf();
    return text.str();
  }
  void write(const std::string& text) const { std::ofstream(path_) << text; }
  std::string refusal(const OrderedJson& request) const {
    try {
      TaskLog log(path_, request);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  void make(int64_t items) const {
    TaskLog log(path_, request_);
    for (int64_t i = 0; i < items; ++i)
      log.append(task_, i, item_, {{-0.1 * static_cast<double>(i + 1), true}, {-2, false}});
  }

  const Task task_ = {"t", TaskScoring::kChoice, {}, nullptr};
  const OrderedJson request_ = {{"engine", "runtime"}, {"data", {{"t", "abc"}}}};
  TaskItem item_;
  std::filesystem::path path_;
};

TEST_F(TaskLogTest, KeepsScoresExactly) {
  make(3);
  const TaskLog log(path_, request_);
  const auto* scores = log.find(task_, 2, item_);
  ASSERT_TRUE(scores);
  EXPECT_EQ((*scores)[0].log_likelihood, -0.1 * 3.0);
  EXPECT_TRUE((*scores)[0].greedy);
  EXPECT_FALSE((*scores)[1].greedy);
  EXPECT_EQ(log.find(task_, 3, item_), nullptr);
  EXPECT_NE(content().find(R"("item":1,"id":"Q7","loglikelihoods":[)"), std::string::npos);
}

TEST_F(TaskLogTest, AnUnfinishedLineIsCutOffWhereverARunWasKilled) {
  make(2);
  const std::string whole = content();
  const size_t header = whole.find('\n') + 1, second = whole.find('\n', header) + 1;
  for (size_t size = 0; size <= whole.size(); ++size) {
    write(whole.substr(0, size));
    {
      TaskLog log(path_, request_);
      EXPECT_EQ(log.find(task_, 0, item_) != nullptr, size >= second) << size;
      EXPECT_EQ(log.find(task_, 1, item_) != nullptr, size == whole.size()) << size;
      if (size < second) log.append(task_, 0, item_, {{-0.1, true}, {-2, false}});
      if (size < whole.size()) log.append(task_, 1, item_, {{-0.2, true}, {-2, false}});
    }
    ASSERT_EQ(content(), whole) << size;
  }
}

TEST_F(TaskLogTest, RefusesAnotherRequestAndOtherFiles) {
  make(1);
  const std::string whole = content();
  OrderedJson other = request_;
  other["data"]["t"] = "abd";
  EXPECT_NE(refusal(other).find("data.t is \"abc\" there, \"abd\" here"), std::string::npos)
      << refusal(other);
  other = request_;
  other["bos"] = true;
  EXPECT_NE(refusal(other).find("bos is not there"), std::string::npos);
  EXPECT_EQ(content(), whole);
  for (const char* text : {"my notes", "my notes\nmore\n", "[1]\n", "{\"engine\""}) {
    write(text);
    EXPECT_NE(refusal(request_).find(std::string(text) == "{\"engine\"" ? "no error" : "task log"),
              std::string::npos)
        << text << ": " << refusal(request_);
  }
}

TEST_F(TaskLogTest, DamagedLinesAreNamed) {
  make(1);
  const std::string whole = content();
  for (const char* line :
       {"{}", "[]", "x", R"({"task": "t", "item": 1, "loglikelihoods": [-1], "greedy": []})",
        R"({"task": "t", "item": 1, "loglikelihoods": [], "greedy": []})",
        R"({"task": "t", "item": 1, "loglikelihoods": [1e999], "greedy": [true]})",
        R"({"task": "t", "item": 0.5, "loglikelihoods": [-1], "greedy": [true]})"}) {
    write(whole + line + "\n");
    EXPECT_NE(refusal(request_).find("line 3"), std::string::npos) << refusal(request_);
  }
}

TEST_F(TaskLogTest, OtherChoicesAndOtherProcesses) {
  make(1);
  const TaskLog log(path_, request_);
  TaskItem item = item_;
  item.requests.push_back({"c", "z"});
  EXPECT_THROW(log.find(task_, 0, item), Error);
  EXPECT_NE(refusal(request_).find("in use"), std::string::npos);
}

}  // namespace
}  // namespace bitsmith
