#include "server/json_fields.h"

#include <cmath>

#include "server/http.h"

namespace bitsmith {
namespace {

[[noreturn]] void wrong_type(const std::string& name, const char* expected,
                             const OrderedJson& found) {
  throw HttpError::invalid_field(name, concat("must be ", expected, ", but is ", json_kind(found)));
}

}  // namespace

std::string json_kind(const OrderedJson& value) {
  switch (value.type()) {
    case OrderedJson::value_t::null:
      return "null";
    case OrderedJson::value_t::object:
      return "an object";
    case OrderedJson::value_t::array:
      return "an array";
    case OrderedJson::value_t::string:
      return "a string";
    case OrderedJson::value_t::boolean:
      return "a boolean";
    default:
      return concat("the number ", excerpt(value.dump()));
  }
}

std::optional<int64_t> json_integer(const OrderedJson& value, int64_t least, int64_t most) {
  int64_t number = 0;
  if (value.is_number_unsigned()) {
    const auto unsigned_number = value.get<uint64_t>();
    if (!std::in_range<int64_t>(unsigned_number)) return std::nullopt;
    number = static_cast<int64_t>(unsigned_number);
  } else if (value.is_number_integer()) {
    number = value.get<int64_t>();
  } else if (value.is_number_float()) {
    const double real = value.get<double>();
    if (!(std::abs(real) <= 0x1p53) || real != std::floor(real)) return std::nullopt;
    number = static_cast<int64_t>(real);
  } else {
    return std::nullopt;
  }
  if (number < least || number > most) return std::nullopt;
  return number;
}

JsonFields::JsonFields(const OrderedJson& object, std::string where)
    : object_(object), where_(std::move(where)) {
  BITSMITH_CHECK(object.is_object());
}

const OrderedJson* JsonFields::any(const std::string& key) {
  known_.insert(key);
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<std::string> JsonFields::string(const std::string& key) {
  const OrderedJson* value = any(key);
  if (!value) return std::nullopt;
  if (!value->is_string()) wrong_type(name(key), "a string", *value);
  return value->get<std::string>();
}

std::optional<bool> JsonFields::boolean(const std::string& key) {
  const OrderedJson* value = any(key);
  if (!value) return std::nullopt;
  if (!value->is_boolean()) wrong_type(name(key), "true or false", *value);
  return value->get<bool>();
}

std::optional<int64_t> JsonFields::integer(const std::string& key, int64_t least, int64_t most) {
  const OrderedJson* value = any(key);
  if (!value) return std::nullopt;
  const auto number = json_integer(*value, least, most);
  if (!number)
    wrong_type(name(key), concat("an integer from ", least, " to ", most).c_str(), *value);
  return number;
}

std::optional<double> JsonFields::number(const std::string& key, double least, double most) {
  const OrderedJson* value = any(key);
  if (!value) return std::nullopt;
  if (!value->is_number() || !(value->get<double>() >= least && value->get<double>() <= most))
    wrong_type(name(key), concat("a number from ", least, " to ", most).c_str(), *value);
  return value->get<double>();
}

const OrderedJson* JsonFields::object(const std::string& key) {
  const OrderedJson* value = any(key);
  if (value && !value->is_object()) wrong_type(name(key), "an object", *value);
  return value;
}

const OrderedJson* JsonFields::array(const std::string& key) {
  const OrderedJson* value = any(key);
  if (value && !value->is_array()) wrong_type(name(key), "an array", *value);
  return value;
}

void JsonFields::finish() const {
  for (const auto& [key, value] : object_.items()) {
    if (!known_.contains(key))
      throw HttpError::invalid_field(where_ + excerpt(key), "is no field that this server knows");
  }
}

}  // namespace bitsmith
