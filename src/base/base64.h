// Bytes as text (RFC 4648, section 4): the standard alphabet, with padding.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace bitsmith {

std::string encode_base64(std::string_view bytes);
// Padding may be missing. Nothing: a character that is not of the alphabet.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace bitsmith
