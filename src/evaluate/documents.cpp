#include "evaluate/documents.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "tokenizer/jinja/strftime.h"
#include "tokenizer/utf8.h"

namespace bitsmith {
namespace {

constexpr const char* kLineForm =
    R"({"text": "..."} or {"messages": [{"role": ..., "content": ...}]})";

// The beginning of a text for a message, on one line; control bytes and bytes that are not UTF-8
// as \xNN.
std::string short_text(std::string_view text, size_t limit) {
  std::string out;
  while (!text.empty()) {
    if (out.size() >= limit) return out + "...";
    const Utf8Unit unit = next_utf8(text);
    const auto first = static_cast<unsigned char>(text[0]);
    if (unit.state == Utf8Unit::State::kWhole && first >= 0x20 && first != 0x7F) {
      out += text.substr(0, unit.length);
      text.remove_prefix(unit.length);
    } else {
      constexpr const char* kDigits = "0123456789abcdef";
      out += {'\\', 'x', kDigits[first >> 4], kDigits[first & 15]};
      text.remove_prefix(1);
    }
  }
  return out;
}

size_t line_of(std::string_view text, size_t offset) {
  return 1 + static_cast<size_t>(std::ranges::count(text.substr(0, offset), '\n'));
}

// Throws for UTF-16, UTF-32 and binary data: text has no zero bytes.
void check_is_text(std::string_view bytes, const std::string& path) {
  size_t zeros[2] = {};  // at even and odd offsets
  for (size_t i = 0; i < bytes.size(); ++i) zeros[i & 1] += bytes[i] == '\0';
  const auto [fewer, more] = std::minmax(zeros[0], zeros[1]);
  const bool marked = bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF");
  // Latin text has every second byte zero; other alphabets at least their spaces and line ends.
  if (marked || (more * 16 > bytes.size() && fewer * 20 < more)) {
    throw Error(concat(path,
                       ": the text is UTF-16 (or UTF-32), not UTF-8; convert it, for example by "
                       "iconv -f UTF-16 -t UTF-8"));
  }
  if (more > 0) {
    const size_t first = bytes.find('\0');
    throw Error(concat(path, ", line ", line_of(bytes, first), ": the byte at offset ", first,
                       " is zero: this is a binary file and not a text; unpack it if it is "
                       "compressed"));
  }
}

// A few bad bytes (a cut end, a stray Latin-1 letter) are only warned of.
void check_utf8(std::string_view text, const std::string& path) {
  constexpr size_t kFew = 16, kFewOf = 1000;
  size_t bad = 0, first = 0;
  for (size_t i = 0; i < text.size();) {
    const Utf8Unit unit = next_utf8(text.substr(i));
    if (unit.state != Utf8Unit::State::kWhole) {
      if (bad == 0) first = i;
      bad += static_cast<size_t>(unit.length);
    }
    i += static_cast<size_t>(unit.length);
  }
  if (bad == 0) return;
  const std::string found = concat(
      path, ": ", bad, bad == 1 ? " byte is" : " bytes are", " not UTF-8, the first on line ",
      line_of(text, first), " at offset ", first, ": ", short_text(text.substr(first, 20), 20));
  if (bad > kFew && bad * kFewOf > text.size()) {
    throw Error(concat(found,
                       "; convert the text (for example by iconv -f LATIN1 -t UTF-8), or "
                       "unpack it if it is compressed"));
  }
  log_warning(found + "; each such place is read as U+FFFD");
}

// JSON that is taken for prose would be learned and judged with its brackets and escapes.
void check_is_not_json(std::string_view text, const std::string& path) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  const bool named_json = path.ends_with(".json");
  if (!named_json && text[first] != '{' && text[first] != '[') return;
  const std::string_view line = text.substr(first, text.find('\n', first) - first);
  if (line[0] == '{' && line.size() < text.size() - first && Json::accept(line)) {
    throw Error(concat(path, ": the file holds JSON lines; its name must end in .jsonl"));
  }
  if (named_json || Json::accept(text)) {
    throw Error(concat(path,
                       ": JSON is not read as text; write a .jsonl file with one object a line, ",
                       kLineForm));
  }
}

// Throws unless every message has a role, and a content or calls of tools. What else they need the
// template says.
void check_messages(const Json& list, const std::string& source) {
  if (!list.is_array() || list.empty())
    throw Error(concat(source, ": 'messages' is not a list of messages: ", json_excerpt(list)));
  for (size_t i = 0; i < list.size(); ++i) {
    const Json& message = list[i];
    const std::string place = concat(source, ", message ", i + 1);
    json_get<std::string>(message, "role", place);
    const bool calls = message.contains("tool_calls");
    const bool parts = message.contains("content") && message.at("content").is_array();
    if (calls)
      json_get_or<std::string>(message, "content", "", place);
    else if (!parts)
      json_get<std::string>(message, "content", place);
  }
}

Json parse_line(std::string_view line, const std::string& source) {
  try {
    Json value = parse_json(line, source);
    if (value.is_object()) return value;
  } catch (const Error& error) {  // the parser's message may hold the whole line
    throw Error(short_text(error.what(), source.size() + 200));
  }
  throw Error(
      concat(source, ": expected one JSON object, ", kLineForm, "; found: ", short_text(line, 60)));
}

Document parse_document(std::string_view line, const std::string& source,
                        const ChatTemplate& chat_template) {
  const Json value = parse_line(line, source);
  const auto has = [&](const char* key) { return value.contains(key) && !value.at(key).is_null(); };
  if (has("text")) return {json_get<std::string>(value, "text", source)};
  if (!has("messages")) {
    throw Error(concat(source, ": neither 'text' nor 'messages' is there, expected ", kLineForm,
                       "; found: ", short_text(line, 60)));
  }
  check_messages(value.at("messages"), source);
  if (!chat_template.supported()) {
    throw Error(concat(source, ": 'messages' need a chat template, but ", chat_template.reason(),
                       "; give each line a 'text' instead"));
  }
  try {
    // The order of keys is that of the file: templates write tools and calls as JSON.
    const OrderedJson ordered = parse_ordered_json(line, source);
    return chat_document(chat_template, ordered.at("messages"),
                         has("tools") ? ordered.at("tools") : OrderedJson());
  } catch (const Error& error) {
    throw Error(concat(source, ": ", error.what()));
  }
}

std::vector<Document> read_lines(std::string_view text, const std::string& path,
                                 const ChatTemplate& chat_template) {
  std::vector<Document> documents;
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    documents.push_back(parse_document(line, concat(path, ", line ", number), chat_template));
  }
  return documents;
}

bool is_blank(const Document& document) {
  return document.text.find_first_not_of(" \t\r\n") == std::string::npos;
}

}  // namespace

Document chat_document(const ChatTemplate& chat_template, OrderedJson messages, OrderedJson tools) {
  ChatRequest request;
  request.messages = std::move(messages);
  request.tools = std::move(tools);
  request.add_generation_prompt = false;
  request.now = jinja::midnight(2025, 1, 1);
  ChatPrompt chat = chat_template.render(request);
  return {std::move(chat.text), true, std::move(chat.foreign)};
}

std::vector<Document> read_documents(const std::string& path, const ChatTemplate& chat_template) {
  return parse_documents(read_text_file(path), path, chat_template);
}

std::vector<Document> parse_documents(std::string_view text, const std::string& path,
                                      const ChatTemplate& chat_template) {
  check_is_text(text, path);
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<Document> documents;
  if (path.ends_with(".jsonl")) {
    documents = read_lines(text, path, chat_template);
  } else {
    documents.push_back({std::string(text)});
  }
  if (std::ranges::all_of(documents, is_blank)) throw Error(path + ": the file holds no text");
  if (!path.ends_with(".jsonl")) {
    check_is_not_json(text, path);
    check_utf8(text, path);
  }
  return documents;
}

std::vector<int32_t> encode_document(const Document& document, const Tokenizer& tokenizer,
                                     bool parse_special) {
  const bool chat_alone = document.chat && !parse_special;
  return tokenizer.encode(
      document.text, /*add_special=*/false,
      chat_alone ? ParseSpecial::outside_of(document.foreign) : ParseSpecial(parse_special));
}

std::vector<int32_t> encode_joined(const std::vector<Document>& documents,
                                   const Tokenizer& tokenizer, bool parse_special) {
  std::vector<int32_t> ids;
  Document joined;
  const auto append = [&](const Document& document) {
    const std::vector<int32_t> more = encode_document(document, tokenizer, parse_special);
    ids.insert(ids.end(), more.begin(), more.end());
  };
  for (const Document& document : documents) {
    if (!document.chat) {
      if (!joined.text.empty()) joined.text += "\n\n";
      joined.text += document.text;
      continue;
    }
    append(std::exchange(joined, {}));
    append(document);
    ids.push_back(tokenizer.document_separator());
  }
  append(joined);
  return ids;
}

int64_t count_chats(const std::vector<Document>& documents) {
  return std::ranges::count_if(documents, &Document::chat);
}

}  // namespace bitsmith
