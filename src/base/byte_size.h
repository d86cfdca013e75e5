// A number of bytes as people write it: "512MiB", "2GB", "1073741824".
#pragma once
#include <cstdint>
#include <string>

namespace bitsmith {

struct ByteSize {
  uint64_t bytes = 0;
  bool operator==(const ByteSize&) const = default;
};

// In the largest unit that divides it: "2GiB", "48MB"; and any text of a number with a unit (B, kB,
// MB, GB, TB of 1000; KiB, MiB, GiB, TiB of 1024; any case), at most 2^60 bytes. UsageError
// otherwise.
std::string option_text(const ByteSize& size);
void parse_option(const std::string& text, ByteSize& size);

}  // namespace bitsmith
