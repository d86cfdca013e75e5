#include "evaluate/chat_share.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "evaluate/white_space.h"

namespace bitsmith {
namespace {

// The first white space from `begin` on, or the end. Text that has none for long, as Chinese, is
// cut between two characters.
size_t next_cut(std::string_view text, size_t begin) {
  constexpr size_t kFar = 200;
  const size_t space = text.substr(0, begin + kFar).find_first_of(" \t\r\n", begin);
  if (space != text.npos) return space;
  if (text.size() <= begin + kFar) return text.size();
  while ((static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80 && begin + 1 < text.size())
    ++begin;
  return begin;
}

void check_template(const ChatTemplate& chat_template) {
  if (!chat_template.supported())
    throw Error(concat("chats need a chat template, but ", chat_template.reason()));
}

}  // namespace

bool is_in_share(int64_t place, double share) {
  const auto of_first = [share](int64_t n) { return std::floor(static_cast<double>(n) * share); };
  return of_first(place + 1) > of_first(place);
}

std::vector<Document> with_chats(const std::vector<Document>& documents,
                                 const ChatTemplate& chat_template, double share) {
  check_template(chat_template);
  std::vector<Document> mixed;
  int64_t pieces = 0;
  for (const Document& document : documents) {
    if (document.chat) {
      mixed.push_back(document);
      continue;
    }
    const std::string_view text = document.text;
    Document raw;
    for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
      end = next_cut(text, begin + kChatPieceBytes);
      const std::string_view piece = text.substr(begin, end - begin);
      const size_t cut = next_cut(piece, piece.size() / 3);
      const std::string_view message = strip(piece.substr(0, cut)),
                             answer = strip(piece.substr(cut));
      if (!is_in_share(pieces++, share) || message.empty() || answer.empty()) {
        raw.text += piece;
        continue;
      }
      if (!raw.text.empty()) mixed.push_back(std::exchange(raw, {}));
      mixed.push_back(chat_document(
          chat_template, OrderedJson::array({chat_message("user", std::string(message)),
                                             chat_message("assistant", std::string(answer))})));
    }
    if (!raw.text.empty()) mixed.push_back(std::move(raw));
  }
  return mixed;
}

std::vector<int32_t> user_turn_start(const ChatTemplate& chat_template,
                                     const Tokenizer& tokenizer) {
  check_template(chat_template);
  const std::string message = "(what the user says)";
  const Document chat =
      chat_document(chat_template, OrderedJson::array({chat_message("user", message)}));
  const size_t begin = chat.text.find(message);
  if (begin == std::string::npos)
    throw Error("the chat template does not write a user's message as it is");
  ChatPrompt start{chat.text.substr(0, begin), {}};
  for (const Span& span : chat.foreign) {
    if (span.begin < begin) start.foreign.push_back({span.begin, std::min(span.end, begin)});
  }
  return start.encode(tokenizer);
}

}  // namespace bitsmith
