// The values of an enum with their names, in one list: for messages, recipes and the command line.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"

namespace bitsmith {

template <typename T>
struct Named {
  T value;
  const char* name;
};

template <typename T, size_t N>
struct NameTable {
  const char* what;  // "method", for messages
  Named<T> entries[N];

  constexpr const char* name(T value) const {
    for (const Named<T>& entry : entries)
      if (entry.value == value) return entry.name;
    return "unknown";
  }
  // "a, b or c".
  std::string names() const {
    std::string list;
    for (size_t i = 0; i < N; ++i)
      list += concat(i == 0 ? "" : i + 1 < N ? ", " : " or ", entries[i].name);
    return list;
  }
  // UsageError with the names.
  T parse(std::string_view text) const {
    for (const Named<T>& entry : entries)
      if (entry.name == text) return entry.value;
    throw UsageError(concat("unknown ", what, " '", excerpt(text), "': choose ", names()));
  }
};

}  // namespace bitsmith
