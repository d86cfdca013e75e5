#include "format/bit_packing.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"

namespace bitsmith {
namespace {

TEST(BitPacking, EveryBitLiesWhereTheFormatSays) {
  Random random(1);
  for (int nbits = 1; nbits <= 16; ++nbits) {
    for (const size_t count : {0, 1, 2, 7, 8, 9, 31, 100}) {
      std::vector<uint16_t> codes(count), back(count);
      for (auto& code : codes) code = static_cast<uint16_t>(random.below(1u << nbits));
      std::vector<std::byte> packed(
          static_cast<size_t>(packed_row_bytes(static_cast<int64_t>(count), nbits)),
          std::byte{0xff});
      ASSERT_EQ(packed.size(), (count * static_cast<size_t>(nbits) + 7) / 8);
      pack_row(codes, nbits, packed);
      for (size_t bit = 0; bit < packed.size() * 8; ++bit) {  // the slow, obvious reading
        const size_t code = bit / static_cast<size_t>(nbits), at = bit % static_cast<size_t>(nbits);
        const int expected = code < count ? codes[code] >> at & 1 : 0;  // padding is zero
        ASSERT_EQ(std::to_integer<int>(packed[bit / 8]) >> (bit % 8) & 1, expected);
      }
      unpack_row(packed, nbits, back);
      EXPECT_EQ(back, codes);
    }
  }
}

TEST(BitPacking, RowBytesDoNotOverflow) {
  EXPECT_EQ(packed_row_bytes(int64_t{1} << 59, 16), int64_t{1} << 60);
}

}  // namespace
}  // namespace bitsmith
