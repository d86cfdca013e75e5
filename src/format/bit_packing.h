// Codes of B bits <-> bytes: code i of a row occupies bits [i*B, (i+1)*B) of the row's bit string,
// least significant bit first; every row begins on a byte.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitsmith {

int64_t packed_row_bytes(int64_t count, int nbits);  // ceil(count * nbits / 8)
// nbits 1..16. `packed` is packed_row_bytes(codes.size(), nbits) long.
void pack_row(std::span<const uint16_t> codes, int nbits, std::span<std::byte> packed);
// Code number `index` of packed codes of nbits.
uint16_t packed_code(std::span<const std::byte> packed, int nbits, int64_t index);
void unpack_row(std::span<const std::byte> packed, int nbits, std::span<uint16_t> codes);

}  // namespace bitsmith
