// Text through the model's chat template, mixed with raw text: to learn from where the model will
// chat and no chats are at hand.
#pragma once
#include <cstdint>
#include <vector>

#include "evaluate/documents.h"

namespace bitsmith {

// Whether number `place` (from 0) of a sequence is of a share, 0 to 1, that is spread evenly over
// it: of the first n, floor(n * share) are.
bool is_in_share(int64_t place, double share);

// Plain documents go in pieces of about kChatPieceBytes, cut at white space, or between characters
// where there is none for long. Of a share of the pieces the first third is what a user says and
// the rest the answer; the others stay joined. Chats stay as they are. Throws Error where there is
// no template, or where it refuses.
std::vector<Document> with_chats(const std::vector<Document>& documents,
                                 const ChatTemplate& chat_template, double share);
inline constexpr size_t kChatPieceBytes = 2000;

// Ids of what the template writes before the words of a user's first message, a system prompt
// included. A model that goes on from there writes the message and its answer (Magpie, Xu et al.
// 2024). Throws Error where there is no template, or where it does not write messages as they are.
std::vector<int32_t> user_turn_start(const ChatTemplate& chat_template, const Tokenizer& tokenizer);

}  // namespace bitsmith
