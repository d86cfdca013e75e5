#include "evaluate/documents.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

constexpr const char* kChatMl =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}";

class Documents : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(BITSMITH_BINARY_DIR) /
              (std::string("documents_test_") +
               testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, std::string_view content) {
    const std::string path = (folder_ / name).string();
    write_file_atomic(path, content);
    return path;
  }
  std::vector<std::string> texts(const std::string& path) {
    std::vector<std::string> result;
    for (const Document& document : read_documents(path, chat_ml_)) result.push_back(document.text);
    return result;
  }
  // The message with which a file is refused: short, without raw control bytes, naming the file.
  std::string refusal(const std::string& name, std::string_view content) {
    const std::string path = write(name, content);
    try {
      read_documents(path, chat_ml_);
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_TRUE(message.starts_with(path)) << message;
      EXPECT_LT(message.size(), path.size() + 450) << message;
      for (const char c : message) EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20) << message;
      return message;
    }
    return "not refused";
  }

  fs::path folder_;
  const ChatTemplate chat_ml_{kChatMl};
};

void expect_says(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
}

// UTF-16 with or without a byte order mark.
std::string utf16(const std::u16string& text, bool big_endian) {
  std::string out;
  for (const char16_t c : text) {
    const char low = static_cast<char>(c & 0xFF), high = static_cast<char>(c >> 8);
    out += big_endian ? std::string{high, low} : std::string{low, high};
  }
  return out;
}

TEST_F(Documents, TextFilesAndLines) {
  EXPECT_EQ(texts(write("a.jsonl", "{\"text\": \"one\\n\", \"x\": 1}\n\n{\"text\": \"two\"}\r\n")),
            (std::vector<std::string>{"one\n", "two"}));
  EXPECT_EQ(texts(write("a.txt", " one\n\n\ntwo\n")),
            (std::vector<std::string>{" one\n\n\ntwo\n"}));
  EXPECT_EQ(texts(write("wiki.raw", "[not JSON] text")),
            (std::vector<std::string>{"[not JSON] text"}));
  EXPECT_THROW(texts((folder_ / "absent").string()), Error);
}

TEST_F(Documents, ByteOrderMarksOfUtf8AreSkipped) {
  EXPECT_EQ(texts(write("a.txt", "\xEF\xBB\xBFone")), (std::vector<std::string>{"one"}));
  EXPECT_EQ(texts(write("a.jsonl", "\xEF\xBB\xBF{\"text\": \"one\"}")),
            (std::vector<std::string>{"one"}));
}

TEST_F(Documents, Utf16IsNamed) {
  const std::u16string latin = u"Some words in the Latin alphabet.\n";
  const std::u16string cyrillic = u"\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440\n";
  for (const bool big_endian : {false, true}) {
    for (const std::u16string& text : {latin, u"\uFEFF" + latin, cyrillic, u"\uFEFF" + cyrillic}) {
      expect_says(refusal("a.txt", utf16(text, big_endian)), {"UTF-16", "iconv"});
      expect_says(refusal("a.jsonl", utf16(text, big_endian)), {"UTF-16"});
    }
  }
}

TEST_F(Documents, BinaryFilesAreRefusedWithThePlace) {
  expect_says(refusal("a.txt", std::string_view("one\ntwo \0 three\n", 16)),
              {"line 2", "offset 8", "binary"});
  std::string bytes = "GGUF\x03";
  for (int i = 0; i < 4000; ++i) bytes += static_cast<char>(i * i * 31 >> 3);
  expect_says(refusal("model.gguf", bytes), {"binary"});
}

TEST_F(Documents, BytesThatAreNotUtf8) {
  // Many are an error, few a warning: both with their number and place.
  std::string latin1;
  for (int i = 0; i < 50; ++i)
    latin1 +=
        "gr\xFC\xDF"
        "e\n";
  expect_says(refusal("a.txt", latin1), {"100 bytes", "line 1", "offset 2", "\\xfc", "iconv"});
  std::string warnings;
  set_log_sink([&](Severity, const std::string& message) { warnings += message; });
  const std::string cut = "The end is cut: \xE2\x82";
  EXPECT_EQ(texts(write("cut.txt", cut)), (std::vector<std::string>{cut}));
  set_log_sink({});
  expect_says(warnings, {"2 bytes", "line 1", "offset 16"});
}

TEST_F(Documents, JsonIsNotTakenForText) {
  for (const char* json : {"[{\"text\": \"a\"}, {\"text\": \"b\"}]", " [\n  \"a\",\n  \"b\"\n]\n",
                           "{\n  \"text\": \"a\"\n}", "{\"text\": \"a\"}"}) {
    for (const char* name : {"a.json", "a.txt"})
      expect_says(refusal(name, json), {"JSON", ".jsonl"});
  }
  for (const char* name : {"a.json", "a.txt"})
    expect_says(refusal(name, "{\"text\": \"a\"}\n{\"text\": \"b\"}\n"), {"JSON lines", ".jsonl"});
}

TEST_F(Documents, FilesWithoutText) {
  for (const char* content : {"", "\n \r\n\t", "\xEF\xBB\xBF"}) {
    for (const char* name : {"a.txt", "a.jsonl", "a.json"})
      expect_says(refusal(name, content), {"no text"});
  }
  expect_says(refusal("a.jsonl", "{\"text\": \"\"}\n{\"text\": \" \"}\n"), {"no text"});
}

TEST_F(Documents, LinesOfAnotherForm) {
  const std::string good = "{\"text\": \"fine\"}\n";
  const auto line = [&](const std::string& bad) { return refusal("a.jsonl", good + "\n" + bad); };
  expect_says(line("{\"text\": 1}"), {"line 3", "'text'"});
  expect_says(line("{\"other\": \"x\"}"), {"line 3", "'messages'", "other"});
  expect_says(line("plain words"), {"line 3", "JSON"});
  expect_says(line("[1, 2]"), {"line 3", "object", "[1, 2]"});
  expect_says(line("\"text\""), {"line 3", "object"});
  expect_says(line("{\"text\": \"\xFF\"}"), {"line 3", "JSON"});
  expect_says(line(std::string(200, '[')), {"line 3", "deep"});
  expect_says(line("{\"messages\": {}}"), {"line 3", "list of messages"});
  expect_says(line("{\"messages\": []}"), {"line 3", "list of messages"});
  expect_says(line("{\"messages\": [{\"role\": \"user\"}]}"), {"line 3, message 1", "'content'"});
  expect_says(line("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, 7]}"),
              {"line 3, message 2", "'role'"});
}

TEST_F(Documents, GiantAndUglyLinesGiveShortMessages) {
  refusal("a.jsonl", std::string(1 << 20, 'x'));
  refusal("a.jsonl", "{\"text\": \"" + std::string(1 << 20, 'x'));
  refusal("a.jsonl", "[\"" + std::string(1 << 20, 'x') + "\"]");
  refusal("a.jsonl", "{\"" + std::string(1 << 20, 'x') + "\": 1}");
  refusal("a.jsonl", "[\"\x7F\"]");
  refusal("a.jsonl", "\x1B[31mred\x1B[0m");
}

TEST_F(Documents, ChatsAreRenderedByTheTemplate) {
  const std::string path =
      write("a.jsonl",
            "{\"text\": \"plain <|im_end|>\"}\n"
            "{\"text\": null, \"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, "
            "{\"role\": \"assistant\", \"content\": \"Ho\"}]}\n");
  const std::vector<Document> documents = read_documents(path, chat_ml_);
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_FALSE(documents[0].chat);
  EXPECT_TRUE(documents[1].chat);
  EXPECT_EQ(documents[1].text,
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\n");
  EXPECT_EQ(count_chats(documents), 1);
  const ChatTemplate strict(
      "{% if messages | length > 1 %}\n{{ raise_exception('Too long') }}{% endif %}x");
  try {
    read_documents(path, strict);
    FAIL() << "rendered what the template refuses";
  } catch (const Error& error) {
    expect_says(error.what(), {path + ", line 2", "refuses", "Too long"});
  }
  try {
    read_documents(path, ChatTemplate(""));
    FAIL() << "rendered without a template";
  } catch (const Error& error) {
    expect_says(error.what(), {path + ", line 2", "no chat template", "'text'"});
  }
}

TEST_F(Documents, ChatsWithToolsAndParts) {
  const ChatTemplate chat(
      "{{ strftime_now('%Y-%m-%d') }}{% for t in tools or [] %}{{ t | tojson }}{% endfor %}"
      "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
      "{% for part in m.content or [] %}{{ part.text }}{% endfor %}{% endif %}"
      "{{ m.tool_calls | default([]) | length }}{% endfor %}");
  const auto text = [&](const std::string& line) {
    return read_documents(write("a.jsonl", line), chat)[0].text;
  };
  EXPECT_EQ(text(R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, )"
                 R"({"role": "assistant", "content": null, "tool_calls": [{}, {}]}], )"
                 R"("tools": [{"name": "f", "a": 1}]})"),
            "2025-01-01{\"name\": \"f\", \"a\": 1}Hi02");
}

TEST_F(Documents, SpecialTokensAreThoseOfChatsUnlessParsed) {
  const auto tokenizer = Tokenizer::open(fs::path(BITSMITH_TESTDATA) / "tiny_llama_trained");
  const int32_t end = *tokenizer->token_id("<|im_end|>"),
                separator = tokenizer->document_separator();
  const std::string text = "Hi<|im_end|>";
  const auto has = [](const std::vector<int32_t>& ids, int32_t id) {
    return std::ranges::count(ids, id);
  };
  EXPECT_EQ(has(encode_document({text}, *tokenizer, false), end), 0);
  EXPECT_EQ(has(encode_document({text}, *tokenizer, true), end), 1);
  EXPECT_EQ(has(encode_document({text, true}, *tokenizer, false), end), 1);
  EXPECT_EQ(has(encode_document({text, true, {{0, text.size()}}}, *tokenizer, false), end), 0);
  EXPECT_EQ(has(encode_document({text, true, {{0, text.size()}}}, *tokenizer, true), end), 1);

  const auto ids = [&](const std::string& plain) { return tokenizer->encode(plain, false, false); };
  EXPECT_EQ(encode_joined({{"One."}, {"Two."}}, *tokenizer, false), ids("One.\n\nTwo."));
  std::vector<int32_t> expected = ids("One.\n\nTwo.");
  for (const int32_t id : tokenizer->encode(text, false, true)) expected.push_back(id);
  expected.push_back(separator);
  for (const int32_t id : ids("Three.")) expected.push_back(id);
  EXPECT_EQ(encode_joined({{"One."}, {"Two."}, {text, true}, {"Three."}}, *tokenizer, false),
            expected);
}

}  // namespace
}  // namespace bitsmith
