// Texts to judge and to learn from: files -> documents -> tokens.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {

struct Document {
  std::string text;
  bool chat = false;  // a conversation as the template renders it: its special tokens are meant
  std::vector<Span> foreign = {};  // of a chat: what its messages wrote, where they are not
};

// A conversation, rendered. So that it is always the same document, strftime_now() tells 1 January
// 2025 there. Throws Error where the template refuses.
Document chat_document(const ChatTemplate& chat_template, OrderedJson messages,
                       OrderedJson tools = {});

// A .jsonl file holds a document a line, {"text": "..."} or {"messages": [{"role": "user",
// "content": "..."}, ...], "tools": [...]}, which is a chat. Every other file is one document of
// plain text. A UTF-8 byte order mark is skipped; a few bytes that are not UTF-8 cost a
// warning. Throws Error with file and line for UTF-16, binary files, JSON under another name, lines
// of another form, messages without a template or that it refuses, and files without any text.
std::vector<Document> read_documents(const std::string& path, const ChatTemplate& chat_template);
// The same from a file's content.
std::vector<Document> parse_documents(std::string_view content, const std::string& path,
                                      const ChatTemplate& chat_template);

// Ids of a document, without BOS and EOS. Special tokens that plain text or the messages of a chat
// spell out (<|im_end|>) are parsed iff parse_special; those that the template writes always are.
std::vector<int32_t> encode_document(const Document& document, const Tokenizer& tokenizer,
                                     bool parse_special);
// A file as one text: plain documents are joined by a blank line, and the tokenizer's document
// separator follows each chat.
std::vector<int32_t> encode_joined(const std::vector<Document>& documents,
                                   const Tokenizer& tokenizer, bool parse_special);

int64_t count_chats(const std::vector<Document>& documents);

}  // namespace bitsmith
