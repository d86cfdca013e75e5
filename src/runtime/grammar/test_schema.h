// For tests: JSON Schema as its specification reads, slow and apart from the grammar; and the texts
// that an acceptor takes.
#pragma once
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/random.h"
#include "base/utf8.h"
#include "runtime/grammar/json_acceptor.h"

namespace bitsmith::testing {

inline bool has_schema_type(const OrderedJson& value, const std::string& type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  return value.is_number() &&
         (type == "number" || value.get<double>() == std::floor(value.get<double>()));
}

inline int64_t characters_of(std::string_view text) {
  int64_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(static_cast<size_t>(next_utf8(text).length));
  return count;
}

// Whether a value fits a schema of the keywords that compile_json_schema() knows.
inline bool fits_schema(const OrderedJson& value, const OrderedJson& schema,
                        const OrderedJson& root) {
  if (schema.is_boolean()) return schema.get<bool>();
  const auto number = [&](const char* key, double fallback) {
    return schema.contains(key) ? schema.at(key).get<double>() : fallback;
  };
  if (schema.contains("$ref")) {
    const std::string pointer = schema.at("$ref").get<std::string>().substr(1);
    if (!fits_schema(value, root.at(OrderedJson::json_pointer(pointer)), root)) return false;
  }
  if (schema.contains("anyOf")) {
    bool any = false;
    for (const OrderedJson& one : schema.at("anyOf")) any = any || fits_schema(value, one, root);
    if (!any) return false;
  }
  if (schema.contains("const") && value != schema.at("const")) return false;
  if (schema.contains("enum")) {
    bool any = false;
    for (const OrderedJson& one : schema.at("enum")) any = any || one == value;
    if (!any) return false;
  }
  if (schema.contains("type")) {
    const OrderedJson& type = schema.at("type");
    bool any = type.is_string() && has_schema_type(value, type);
    if (type.is_array())
      for (const OrderedJson& one : type) any = any || has_schema_type(value, one);
    if (!any) return false;
  }
  if (value.is_string()) {
    const auto length = static_cast<double>(characters_of(value.get_ref<const std::string&>()));
    if (length < number("minLength", 0) || length > number("maxLength", 1e9)) return false;
  }
  if (value.is_array()) {
    const auto size = static_cast<double>(value.size());
    if (size < number("minItems", 0) || size > number("maxItems", 1e9)) return false;
    if (schema.contains("items"))
      for (const OrderedJson& item : value)
        if (!fits_schema(item, schema.at("items"), root)) return false;
  }
  if (value.is_object()) {
    const OrderedJson none = OrderedJson::object();
    const OrderedJson& properties = schema.contains("properties") ? schema.at("properties") : none;
    for (const auto& [key, item] : value.items()) {
      if (properties.contains(key)) {
        if (!fits_schema(item, properties.at(key), root)) return false;
      } else if (schema.contains("additionalProperties") &&
                 !fits_schema(item, schema.at("additionalProperties"), root)) {
        return false;
      }
    }
    if (schema.contains("required"))
      for (const OrderedJson& key : schema.at("required"))
        if (!value.contains(key.get<std::string>())) return false;
  }
  return true;
}

// A text on its way through an acceptor.
class AcceptedText {
 public:
  explicit AcceptedText(std::shared_ptr<const JsonForm> form)
      : acceptor_(std::move(form)), state_(acceptor_.start()) {}

  bool may_take(unsigned char byte) {
    acceptor_.step(state_, byte, next_);
    return !next_.empty();
  }
  // False: it was refused, and so is whatever follows.
  bool take(unsigned char byte) {
    acceptor_.step(state_, byte, next_);
    state_.swap(next_);
    text_ += static_cast<char>(byte);
    return !state_.empty();
  }
  bool take(std::string_view bytes) {
    for (const char byte : bytes)
      if (!take(static_cast<unsigned char>(byte))) return false;
    return true;
  }
  bool complete() const { return JsonAcceptor::complete(state_); }
  bool goes_on() const { return JsonAcceptor::goes_on(state_); }
  const std::string& text() const { return text_; }

  // Goes on with bytes drawn by lot, then to the next end; false: there is no way to one.
  bool finish_at_random(Random& random, int random_bytes) {
    for (int i = 0; i < random_bytes && goes_on(); ++i) {
      std::vector<unsigned char> may_come;
      for (int byte = 0; byte < 256; ++byte)
        if (may_take(static_cast<unsigned char>(byte)))
          may_come.push_back(static_cast<unsigned char>(byte));
      if (may_come.empty()) return false;
      take(may_come[random.below(may_come.size())]);
    }
    std::string order = "\"}]:,0123456789";
    for (int byte = 255; byte > ' '; --byte) order += static_cast<char>(byte);
    for (int i = 0; i < 10000 && !complete(); ++i) {
      size_t next = 0;
      while (next < order.size() && !may_take(static_cast<unsigned char>(order[next]))) ++next;
      if (next == order.size()) return false;
      take(static_cast<unsigned char>(order[next]));
    }
    return complete();
  }

 private:
  JsonAcceptor acceptor_;
  JsonAcceptor::State state_, next_;
  std::string text_;
};

inline bool accepts(const std::shared_ptr<const JsonForm>& form, std::string_view text) {
  AcceptedText accepted(form);
  return accepted.take(text) && accepted.complete();
}

}  // namespace bitsmith::testing
