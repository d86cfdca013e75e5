#include "format/bit_packing.h"

#include "base/error.h"

namespace bitsmith {

int64_t packed_row_bytes(int64_t count, int nbits) {
  return count / 8 * nbits + (count % 8 * nbits + 7) / 8;
}

void pack_row(std::span<const uint16_t> codes, int nbits, std::span<std::byte> packed) {
  BITSMITH_CHECK(nbits >= 1 && nbits <= 16);
  BITSMITH_CHECK(static_cast<int64_t>(packed.size()) ==
                 packed_row_bytes(static_cast<int64_t>(codes.size()), nbits));
  uint32_t pending = 0;  // the low `filled` bits wait for a whole byte
  int filled = 0;
  size_t at = 0;
  for (const uint16_t code : codes) {
    BITSMITH_CHECK(code >> nbits == 0);
    pending |= uint32_t{code} << filled;
    for (filled += nbits; filled >= 8; filled -= 8, pending >>= 8) {
      packed[at++] = static_cast<std::byte>(pending);
    }
  }
  if (filled > 0) packed[at] = static_cast<std::byte>(pending);
}

uint16_t packed_code(std::span<const std::byte> packed, int nbits, int64_t index) {
  const int64_t bit = index * nbits;
  uint32_t value = 0;
  for (int64_t byte = bit / 8, shift = 0; byte * 8 < bit + nbits; ++byte, shift += 8) {
    value |= std::to_integer<uint32_t>(packed[static_cast<size_t>(byte)]) << shift;
  }
  return static_cast<uint16_t>(value >> (bit % 8) & ((1u << nbits) - 1));
}

void unpack_row(std::span<const std::byte> packed, int nbits, std::span<uint16_t> codes) {
  BITSMITH_CHECK(nbits >= 1 && nbits <= 16);
  BITSMITH_CHECK(static_cast<int64_t>(packed.size()) ==
                 packed_row_bytes(static_cast<int64_t>(codes.size()), nbits));
  const uint32_t mask = (uint32_t{1} << nbits) - 1;
  uint32_t pending = 0;
  int filled = 0;
  size_t at = 0;
  for (uint16_t& code : codes) {
    for (; filled < nbits; filled += 8) pending |= static_cast<uint32_t>(packed[at++]) << filled;
    code = static_cast<uint16_t>(pending & mask);
    pending >>= nbits;
    filled -= nbits;
  }
}

}  // namespace bitsmith
