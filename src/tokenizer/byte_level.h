// GPT-2's byte alphabet (Radford et al. 2019): every byte is written as one printable character, so
// that a vocabulary of strings covers all byte sequences.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace bitsmith {

// The regular expression by which GPT-2 cuts text into words.
extern const char* const kGpt2Pattern;

// Bytes -> their characters in UTF-8.
std::string to_byte_level(std::string_view bytes);
// The characters' bytes; nullopt if one is not of the alphabet.
std::optional<std::string> from_byte_level(std::string_view text);

}  // namespace bitsmith
