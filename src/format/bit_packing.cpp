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
