// Strict reading of a JSON object from outside: every field is asked for once, by type and range,
// and a field that nobody asked for is an error. Errors are HttpError 400 and name the field.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"

namespace bitsmith {

class JsonFields {
 public:
  // `where` is put before names: "messages[2]." ; empty for the body itself. The object outlives
  // this.
  JsonFields(const OrderedJson& object, std::string where);

  // Missing and null are the same: nothing.
  const OrderedJson* any(const std::string& key);
  std::optional<std::string> string(const std::string& key);
  std::optional<bool> boolean(const std::string& key);
  std::optional<int64_t> integer(const std::string& key, int64_t least, int64_t most);
  // Both limits are allowed.
  std::optional<double> number(const std::string& key, double least, double most);
  const OrderedJson* object(const std::string& key);
  const OrderedJson* array(const std::string& key);

  // The name of a field in messages.
  std::string name(const std::string& key) const { return where_ + key; }
  // Throws for fields that nobody asked for.
  void finish() const;

 private:
  const OrderedJson& object_;
  std::string where_;
  std::set<std::string> known_;
};

// A value as an integer in [least, most]; 2.0 is one, 2.5 and "2" are none.
std::optional<int64_t> json_integer(const OrderedJson& value, int64_t least, int64_t most);
// "a string", "a number", ...: what a value is.
std::string json_kind(const OrderedJson& value);

}  // namespace bitsmith
