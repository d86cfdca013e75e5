#include "format/work_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>

#include "base/error.h"
#include "base/files.h"
#include "base/test_ranks.h"
#include "checkpoint/test_files.h"
#include "format/output_folder.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

class WorkFolderTest : public ::testing::Test {
 protected:
  // A result as a command leaves it in its work folder.
  static fs::path make_result(const WorkFolder& work, const std::string& text) {
    const fs::path result = work.empty_folder("result");
    fs::create_directory(result / "inner");
    write_file_atomic(result / "inner" / "weights", text);
    write_json_file(result / "bitsmith.json", {{"text", text}});
    return result;
  }
  void publish(const std::string& text, bool force = false) {
    WorkFolder work(out_, force, {{"text", text}});
    work.publish(make_result(work, text));
  }
  std::string published_text() const { return read_text_file(out_ / "inner" / "weights"); }
  std::string why_refused(const OrderedJson& request, bool force = false) {
    try {
      const WorkFolder work(out_, force, request);
      return "";
    } catch (const Error& e) {
      return e.what();
    }
  }

  const testing::TestFolder own_;
  const fs::path folder_ = own_.path(), out_ = folder_ / "out", partial_ = folder_ / "out.partial";
};

TEST_F(WorkFolderTest, ASlashMakesNoDifference) {
  EXPECT_EQ(output_path(out_ / ""), out_);
  EXPECT_EQ(output_path(folder_ / "." / "x" / ".." / "out" / "."), out_);
  EXPECT_EQ(output_path("out/"), fs::current_path() / "out");
  EXPECT_THROW(output_path(""), UsageError);
  EXPECT_THROW(output_path("/"), UsageError);
  {
    WorkFolder work(out_ / "", false, {});
    EXPECT_EQ(work.path(), partial_);
    work.publish(make_result(work, "one"));
  }
  EXPECT_EQ(published_text(), "one");
  {
    WorkFolder work(out_ / "", /*force=*/true, {});
    work.publish(make_result(work, "two"));
  }
  EXPECT_EQ(published_text(), "two");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(WorkFolderTest, OutIsReplacedByForceAloneAndOnlyWhereBitsmithMadeIt) {
  publish("one");
  EXPECT_THROW(publish("two"), UsageError);
  EXPECT_EQ(published_text(), "one");
  publish("two", /*force=*/true);
  EXPECT_EQ(published_text(), "two");
  fs::remove(out_ / "bitsmith.json");  // now it is somebody's folder
  EXPECT_THROW(publish("three", /*force=*/true), UsageError);
  EXPECT_EQ(published_text(), "two");
  EXPECT_FALSE(fs::exists(partial_));
}

TEST_F(WorkFolderTest, AnOutThatAppearsMeanwhileIsKeptAndSoIsTheResult) {
  {
    WorkFolder work(out_, false, {{"n", 1}});
    const fs::path result = make_result(work, "mine");
    fs::create_directory(out_);
    write_file_atomic(out_ / "bitsmith.json", "{}");
    EXPECT_THROW(work.publish(result), UsageError);
  }
  EXPECT_EQ(read_text_file(out_ / "bitsmith.json"), "{}");
  const WorkFolder again(out_, /*force=*/true, {{"n", 1}});
  EXPECT_TRUE(again.published());
  EXPECT_EQ(published_text(), "mine");
}

// As a kill leaves them: between the writing of a temporary file and its renaming.
TEST_F(WorkFolderTest, WhatWasBegunToBeWrittenIsNoPartOfTheResult) {
  {
    WorkFolder work(out_, false, {{"n", 1}});
    make_result(work, "mine");
    write_file_atomic(work.file("result") / "README.md.123-4.tmp", "half a card");
    write_file_atomic(work.file("block-00001.safetensors"), "kept");
  }
  WorkFolder again(out_, false, {{"n", 1}});
  EXPECT_FALSE(fs::exists(again.file("result") / "README.md.123-4.tmp"));
  EXPECT_EQ(read_text_file(again.file("block-00001.safetensors")), "kept");
  again.publish(again.file("result"));
  EXPECT_EQ(published_text(), "mine");
}

TEST_F(WorkFolderTest, ARunThatMadeNothingLeavesNothing) {
  { const WorkFolder work(out_, false, {{"n", 1}}); }
  EXPECT_TRUE(fs::is_empty(folder_));
  // Killed before it made anything: free for others.
  fs::create_directory(partial_);
  write_file_atomic(partial_ / "request.json", "{\"version\": 4, \"request\": 5}");
  write_file_atomic(partial_ / "lock", "123");
  const WorkFolder work(out_, false, {{"n", 2}});
  EXPECT_EQ(work.request().at("n"), 2);
}

TEST_F(WorkFolderTest, OnlyAnEqualRequestGoesOn) {
  {
    WorkFolder work(out_, false, {{"n", 1}, {"options", {{"seed", 3}, {"rate", 0.1}}}});
    EXPECT_EQ(work.settle("tokens", [] { return 7; }), 7);
    work.require("data", "abc");
    write_file_atomic(work.file("part"), "hours");
  }
  EXPECT_NE(why_refused({{"n", 1}, {"options", {{"seed", 4}, {"rate", 0.1}}}})
                .find("options.seed 3 there, 4 asked for"),
            std::string::npos);
  EXPECT_NE(why_refused({{"n", 1}}).find("options"), std::string::npos);
  EXPECT_NE(why_refused({{"n", 1}}, /*force=*/true), "");
  EXPECT_EQ(read_text_file(partial_ / "part"), "hours");
  WorkFolder work(out_, false, {{"n", 1}, {"options", {{"seed", 3}, {"rate", 0.1}}}});
  EXPECT_FALSE(work.published());
  EXPECT_EQ(work.settle("tokens", [] { return 8; }), 7);
  EXPECT_NO_THROW(work.require("data", "abc"));
  EXPECT_THROW(work.require("data", "abd"), Error);
}

TEST_F(WorkFolderTest, NotesAreOfTheRecipeAlone) {
  const OrderedJson request = {{"a", 1}}, recipe = {{"a", 1}, {"b", 2}};
  WorkFolder work(out_, false, request);
  const std::string hash = work.hash();
  work.note("b", 2);
  EXPECT_EQ(work.recipe(), recipe);
  EXPECT_EQ(work.request(), request);
  EXPECT_EQ(work.hash(), hash);
}

TEST_F(WorkFolderTest, SomebodysFolderIsNotTouched) {
  fs::create_directory(partial_);
  write_file_atomic(partial_ / "thesis.txt", "precious");
  EXPECT_NE(why_refused({}).find("not work of this program"), std::string::npos);
  EXPECT_EQ(std::distance(fs::directory_iterator(partial_), fs::directory_iterator()), 1);
  EXPECT_EQ(read_text_file(partial_ / "thesis.txt"), "precious");
  fs::remove_all(partial_);
  write_file_atomic(partial_, "a file");
  EXPECT_NE(why_refused({}), "");
  EXPECT_EQ(read_text_file(partial_), "a file");
  fs::remove(partial_);
  fs::create_directory(folder_ / "elsewhere");
  fs::create_directory_symlink(folder_ / "elsewhere", partial_);
  EXPECT_NE(why_refused({}), "");
}

TEST_F(WorkFolderTest, TwoRunsDoNotShareAFolder) {
  const WorkFolder first(out_, false, {{"n", 1}});
  EXPECT_NE(why_refused({{"n", 1}}).find(concat("process ", ::getpid())), std::string::npos);
}

// Every state that a kill can leave between the steps of publish(), with and without an old OUT.
TEST_F(WorkFolderTest, AKillAnywhereInPublishIsRecovered) {
  for (const bool replaces : {false, true}) {
    for (const char* state : {"marked", "aside", "in place", "cleaning"}) {
      SCOPED_TRACE(concat(state, replaces));
      fs::remove_all(folder_);
      fs::create_directories(folder_);
      if (replaces) publish("old");
      {
        // A copy of the marker, as the steps are done here by hand.
        WorkFolder work(out_, replaces, {{"text", "new"}});
        const fs::path result = make_result(work, "new");
        struct stat info {};
        ASSERT_EQ(::stat(result.c_str(), &info), 0);
        write_json_file(work.file("done.json"),
                        {{"result", "result"},
                         {"inode", info.st_ino},
                         {"sha256", sha256(read_text_file(result / "bitsmith.json"))},
                         {"request", {{"text", "new"}}}});
        const std::string step = state;
        if (step == "aside" && replaces) fs::rename(out_, work.file("replaced"));
        if (step == "in place" || step == "cleaning") {
          put_in_place(result, out_, work.file("replaced"));
        }
        if (step == "cleaning") fs::remove(work.file("request.json"));
      }
      const bool in_place = std::string(state) == "in place" || std::string(state) == "cleaning";
      if (!in_place) {  // another request leaves it alone
        EXPECT_NE(why_refused({{"text", "other"}}, /*force=*/true), "");
      }
      {
        const WorkFolder work(out_, replaces, {{"text", "new"}});
        EXPECT_TRUE(work.published());
      }
      EXPECT_EQ(published_text(), "new");
      EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
    }
  }
}

// Leftovers of a result that is in place are in nobody's way.
TEST_F(WorkFolderTest, LeftoversOfAFinishedRunAreRemovedForAnyRequest) {
  publish("one");
  struct stat info {};
  ASSERT_EQ(::stat(out_.c_str(), &info), 0);
  fs::create_directory(partial_);
  write_json_file(partial_ / "done.json", {{"result", "result"},
                                           {"inode", info.st_ino},
                                           {"sha256", "x"},
                                           {"request", {{"text", "one"}}}});
  EXPECT_NE(why_refused({{"text", "two"}}).find("exists"), std::string::npos);
  EXPECT_FALSE(fs::exists(partial_));
  EXPECT_EQ(published_text(), "one");
}

TEST_F(WorkFolderTest, DamagedMarkersAreMessages) {
  fs::create_directory(partial_);
  for (const char* file : {"done.json", "request.json"}) {
    for (const char* text : {"", "[", "{}", "{\"version\": 4, \"request\": {}}"}) {
      write_file_atomic(partial_ / file, text);
      write_file_atomic(partial_ / "part", "hours");
      EXPECT_NE(why_refused({{"n", 1}}), "") << file << " " << text;
      EXPECT_EQ(read_text_file(partial_ / "part"), "hours");
    }
    fs::remove(partial_ / file);
  }
}

// The first rank has the folder; the others know what it found, and write nothing.
TEST_F(WorkFolderTest, RanksShareWhatTheFirstFinds) {
  std::atomic<int> found = 0;
  const auto settle = [&](Communicator& ranks) {
    WorkFolder work(out_, false, {{"text", "one"}}, ranks);
    EXPECT_FALSE(work.published());
    const OrderedJson speed = work.settle("speed", [&]() -> OrderedJson {
      ++found;
      return 10 + ranks.rank();
    });
    EXPECT_EQ(speed, OrderedJson(10));
    work.require("data", {{"sha256", "00"}});
    if (ranks.first()) write_file_atomic(work.file("work"), "begun");  // the folder stays
    return work.hash();
  };
  std::string hash;
  test_ranks::run_ranks(3, [&](Communicator& ranks) {
    const std::string own = settle(ranks);
    if (ranks.rank() == 2) hash = own;
  });
  EXPECT_EQ(found, 1);
  test_ranks::run_ranks(2, [&](Communicator& ranks) {  // goes on with fewer
    EXPECT_EQ(settle(ranks), hash);
  });
  EXPECT_EQ(found, 1);
  test_ranks::run_ranks(2, [&](Communicator& ranks) {
    WorkFolder work(out_, false, {{"text", "one"}}, ranks);
    if (ranks.first()) work.publish(make_result(work, "one"));
    ranks.barrier();
  });
  EXPECT_EQ(published_text(), "one");
  EXPECT_FALSE(fs::exists(partial_));
}

TEST_F(WorkFolderTest, RanksWithDifferentRequestsAreRefused) {
  try {
    test_ranks::run_ranks(2, [&](Communicator& ranks) {
      WorkFolder work(out_, false, {{"tokens", ranks.rank()}}, ranks);
    });
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("tokens 0 there, 1 asked for"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace bitsmith
