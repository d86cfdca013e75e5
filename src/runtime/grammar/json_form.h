// The set of JSON texts that a schema describes, in the form that JsonAcceptor walks.
//
// It is a subset of what the schema allows: properties come in the schema's order, keys and the
// values of `enum` and `const` are spelled in one way, numbers have few digits, and runs of white
// space and nesting are bounded. Each text is JSON (RFC 8259) that fits the schema, and every
// beginning that the acceptor takes can be completed.
#pragma once
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace bitsmith {

struct JsonForm {
  static constexpr int32_t kUnbounded = std::numeric_limits<int32_t>::max();
  static constexpr int32_t kMostDepth = 64;   // objects and arrays within each other
  static constexpr int32_t kMostSpaces = 12;  // characters of white space in a row
  static constexpr int32_t kMostIntegerDigits = 15, kMostFractionDigits = 16,
                           kMostExponentDigits = 2;

  enum class Kind : uint8_t { kLiterals, kString, kNumber, kInteger, kObject, kMap, kArray };
  struct Property {
    std::string key;  // as JSON, with its quotation marks
    int32_t value;    // index of a choice
    bool required;
  };
  struct Value {
    Kind kind;
    // Characters (code points) of a string, items of an array.
    int32_t least = 0, most = kUnbounded;
    int32_t item = -1;                       // choice: items of an array, values of a map
    std::vector<std::string> literals = {};  // JSON texts, sorted and distinct
    std::vector<Property> properties = {};   // in the order in which they come
    std::vector<int32_t> by_key = {};        // indices of properties, sorted by key
    // For each i up to their number: the first required property from i on, or their number.
    std::vector<int32_t> next_required = {};
    // Levels of nesting that the shallowest text needs.
    int32_t height = 0;
  };
  // A place for a value: one of these.
  struct Choice {
    std::vector<int32_t> values = {};
    int32_t height = 0;
  };

  std::vector<Value> values;
  std::vector<Choice> choices;
  int32_t root = 0;        // choice
  int32_t any_string = 0;  // value: a key of a map
};

// A schema that is not supported, not well-formed, or that no text fits.
class JsonSchemaError : public Error {
 public:
  using Error::Error;
};

// Of JSON Schema (draft 2020-12): type, enum, const, properties, required, additionalProperties,
// items, minItems, maxItems, minLength, maxLength, anyOf, and $ref within the schema; annotations
// are passed over. An object has the properties that are listed and no others, or, where none is
// listed, any. Throws JsonSchemaError that names the place and the keyword, and beyond the limits.
std::shared_ptr<const JsonForm> compile_json_schema(const OrderedJson& schema);
// Any JSON object.
std::shared_ptr<const JsonForm> any_json_object();

}  // namespace bitsmith
