#include "evaluate/tasks/task.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "base/error.h"

namespace bitsmith {
namespace {

const Task& task(const std::string& name) {
  for (const Task& each : all_tasks())
    if (each.name == name) return each;
  throw std::runtime_error(name);
}

std::vector<TaskItem> parse(const std::string& name, const std::vector<std::string>& contents) {
  std::vector<TaskFile> files;
  for (size_t i = 0; i < contents.size(); ++i) files.push_back({task(name).files[i], contents[i]});
  return parse_task(task(name), files);
}

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

void expect_request(const TaskRequest& request, const std::string& context,
                    const std::string& continuation) {
  EXPECT_EQ(request.context, context);
  EXPECT_EQ(request.continuation, continuation);
}

TEST(Tasks, Arc) {
  const auto items = parse(
      "arc_challenge",
      {"\xef\xbb\xbf{\"id\": \"Q1\", \"question\": {\"stem\": \"Which?\", \"choices\": "
       "[{\"text\": \"caf\u00e9\", \"label\": \"1\"}, {\"text\": \"tea \", \"label\": \"2\"}, "
       "{\"text\": \"milk\", \"label\": \"3\"}]}, \"answerKey\": \"2\"}\r\n\n"});
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].id, "Q1");
  EXPECT_EQ(items[0].gold, 1);
  ASSERT_EQ(items[0].requests.size(), 3u);
  expect_request(items[0].requests[0], "Question: Which?\nAnswer:", " caf\u00e9");
  expect_request(items[0].requests[1], "Question: Which?\nAnswer:", " tea ");
  EXPECT_EQ(items[0].lengths, (std::vector<int64_t>{4, 4, 4}));
}

TEST(Tasks, HellaSwag) {
  const auto items = parse("hellaswag", {"Cooking: A man. he\n2\na\nbb\nccc\ndddd\nX: y\r\n0\r\n"
                                         "e\r\nf\r\ng\r\nh\r\n\r\n"});
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].gold, 2);
  expect_request(items[0].requests[1], "Cooking: A man. he", " bb");
  EXPECT_EQ(items[0].lengths, (std::vector<int64_t>{1, 2, 3, 4}));
  EXPECT_EQ(items[1].gold, 0);
  expect_request(items[1].requests[3], "X: y", " h");
}

TEST(Tasks, Piqa) {
  const auto items = parse("piqa", {R"({"goal": "Sit", "sol1": "on a chair", "sol2": "on air"})"
                                    "\n"
                                    R"({"goal": "Eat", "sol1": "a", "sol2": "b"})",
                                    "1\n0\n"});
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].gold, 1);
  expect_request(items[0].requests[0], "Question: Sit\nAnswer:", " on a chair");
  expect_request(items[1].requests[1], "Question: Eat\nAnswer:", " b");
  EXPECT_EQ(items[0].lengths, (std::vector<int64_t>{10, 6}));
}

TEST(Tasks, WinoGrande) {
  const auto items =
      parse("winogrande", {R"({"qID": "w-1", "sentence": "Ann met Eve and _  ran.",)"
                           R"( "option1": "Ann", "option2": "Eve", "answer": "2"})"});
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].id, "w-1");
  EXPECT_EQ(items[0].gold, 1);
  expect_request(items[0].requests[0], "Ann met Eve and Ann", " ran.");
  expect_request(items[0].requests[1], "Ann met Eve and Eve", " ran.");
}

TEST(Tasks, BoolQ) {
  const auto items = parse("boolq", {R"({"question": "is it so", "title": "T", "answer": true,)"
                                     R"( "passage": "It is."})"
                                     "\n"
                                     R"({"question": "q", "answer": false, "passage": "P"})"});
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].gold, 1);
  expect_request(items[0].requests[0], "T -- It is.\nQuestion: is it so?\nAnswer:", " no");
  expect_request(items[0].requests[1], "T -- It is.\nQuestion: is it so?\nAnswer:", " yes");
  EXPECT_EQ(items[1].gold, 0);
  expect_request(items[1].requests[0], "P\nQuestion: q?\nAnswer:", " no");
}

TEST(Tasks, LambadaInBothForms) {
  const auto items =
      parse("lambada_openai", {R"({"context": "He said it was", "continuation": "of\n\nPower"})"
                               "\n"
                               R"({"text": "She saw the  cat"})"});
  ASSERT_EQ(items.size(), 2u);
  expect_request(items[0].requests[0], "He said it was", " of\n\nPower");
  expect_request(items[1].requests[0], "She saw the ", " cat");
  EXPECT_EQ(items[1].lengths, (std::vector<int64_t>{3}));
}

TEST(Tasks, DamagedFilesAreRefusedWithFileAndLine) {
  const std::string arc = R"({"id": "a", "question": {"stem": "s", "choices": [)"
                          R"({"text": "x", "label": "A"}, {"text": "y", "label": "B"}]}, )";
  const struct {
    const char* name;
    std::vector<std::string> contents;
    std::vector<std::string> says;
  } cases[] = {
      {"arc_easy", {""}, {"arc_easy_test.jsonl", "no items"}},
      {"arc_easy", {"\n[1]\n"}, {"line 2", "one JSON object"}},
      {"arc_easy", {"{\"id\": "}, {"line 1", "JSON"}},
      {"arc_easy", {arc + R"("answerKey": "C"})"}, {"line 1", "answerKey", "C"}},
      {"arc_easy", {arc + R"("answerKey": 1})"}, {"line 1", "answerKey"}},
      {"arc_easy",
       {R"({"question": {"stem": "s", "choices": []}, "answerKey": "A"})"},
       {"line 1", "0 choices"}},
      {"arc_easy",
       {R"({"question": {"stem": "s", "choices": {"text": ["x"]}}, "answerKey": "A"})"},
       {"line 1", "choices", "list"}},
      {"arc_easy",
       {R"({"question": {"stem": "s", "choices": ["x", "y"]}, "answerKey": "A"})"},
       {"line 1", "choices", "object"}},
      {"arc_easy", {R"({"question": "s", "answerKey": "A"})"}, {"line 1", "question", "object"}},
      {"hellaswag", {"c\n1\na\nb\nc\n"}, {"line 1", "5 lines"}},
      {"hellaswag", {"c\n4\na\nb\nc\nd\n"}, {"line 2", "0 to 3"}},
      {"hellaswag", {"c\n1\na\n \nc\nd\n"}, {"line 4", "blank"}},
      {"hellaswag", {"c\n1\na\n\xff\xfe\nc\nd\n"}, {"line 4", "UTF-8"}},
      {"piqa", {R"({"goal": "g", "sol1": "a", "sol2": "b"})", "0\n1\n"}, {"1 items", "2 labels"}},
      {"piqa", {R"({"goal": "g", "sol1": "a", "sol2": "b"})", "2\n"}, {"labels.lst, line 1", "2"}},
      {"piqa", {R"({"goal": "g", "sol1": "a", "sol2": " "})", "1\n"}, {"sol2", "blank"}},
      {"winogrande",
       {R"({"sentence": "no gap", "option1": "a", "option2": "b", "answer": "1"})"},
       {"line 1", "gap"}},
      {"winogrande",
       {R"({"sentence": "a _ b", "option1": "a", "option2": "b", "answer": ""})"},
       {"line 1", "answer"}},
      {"winogrande",
       {R"({"sentence": "a _ ", "option1": "a", "option2": "b", "answer": "1"})"},
       {"line 1", "blank"}},
      {"boolq", {R"({"question": "q", "passage": "p", "answer": "yes"})"}, {"line 1", "answer"}},
      {"boolq", {R"({"question": "q", "answer": true})"}, {"line 1", "passage"}},
      {"lambada_openai", {R"({"text": "word"})"}, {"line 1", "blank"}},
      {"lambada_openai", {R"({"context": "c"})"}, {"line 1", "continuation"}},
  };
  for (const auto& each : cases) {
    const std::string message = message_of([&] { parse(each.name, each.contents); });
    for (const std::string& word : each.says)
      EXPECT_NE(message.find(word), std::string::npos) << each.name << ": " << message;
    EXPECT_LT(message.size(), 400u) << message;
  }
}

TEST(Tasks, LongLinesMakeShortMessages) {
  const std::string message = message_of([] {
    parse("boolq", {"{\"question\": \"" + std::string(1 << 20, 'x') + "\", \"passage\": 1"});
  });
  EXPECT_NE(message.find("line 1"), std::string::npos);
  EXPECT_LT(message.size(), 400u);
}

TEST(Tasks, AMissingOrHugeFileIsNamed) {
  const auto folder = std::filesystem::temp_directory_path() / "bitsmith_task_test";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "piqa_valid.jsonl") << "{}";
  const std::string message = message_of([&] { read_task_files(task("piqa"), folder); });
  EXPECT_NE(message.find((folder / "piqa_valid_labels.lst").string() + " is missing"),
            std::string::npos)
      << message;
  std::ofstream(folder / "boolq_dev.jsonl") << "{}";
  std::filesystem::resize_file(folder / "boolq_dev.jsonl", 100 << 20);
  EXPECT_NE(message_of([&] { read_task_files(task("boolq"), folder); }).find("104857600 bytes"),
            std::string::npos);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace bitsmith
