// Tokens that end an answer in whatever vocabulary has them.
#pragma once

namespace bitsmith {

// They end a turn of a chat, or a document. A model's files often name only one of its own.
inline constexpr const char* kEndTokens[] = {"<|im_end|>",    "<|eot_id|>",    "<|end_of_text|>",
                                             "<|endoftext|>", "<end_of_turn>", "<|end|>"};

}  // namespace bitsmith
