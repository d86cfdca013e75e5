#include "tokenizer/jinja/to_json.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tokenizer/jinja/print.h"
#include "tokenizer/utf8.h"

namespace bitsmith::jinja {
namespace {

std::string utf16_escape(char32_t c) {
  char text[16];
  const auto unit = [](char32_t value) { return static_cast<unsigned>(value); };
  if (c < 0x10000)
    std::snprintf(text, sizeof(text), "\\u%04x", unit(c));
  else
    std::snprintf(text, sizeof(text), "\\u%04x\\u%04x", unit(0xD800 + ((c - 0x10000) >> 10)),
                  unit(0xDC00 + ((c - 0x10000) & 0x3FF)));
  return text;
}

// Empty: the character stands for itself.
std::string json_escape(char32_t c, bool ensure_ascii) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\f':
      return "\\f";
    case '\b':
      return "\\b";
    default:
      return c < 0x20 || (ensure_ascii && c > 0x7E) ? utf16_escape(c) : "";
  }
}

std::string json_number(const Value& value) {
  if (value.integer()) return std::to_string(*value.integer());
  const double number = *value.number();
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
  return float_text(number);
}

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {}
  Text finish() { return std::move(out_); }

  void write(const Value& value, size_t level) {
    budget_.spend(1);
    if (value.text())
      write_text(*value.text());
    else if (value.is(Sequence::Kind::kList) || value.is(Sequence::Kind::kTuple))
      write_list(value.sequence()->items, level);
    else if (value.dict())
      write_dict(*value.dict(), level);
    else
      out_.append(atom(value));
    if (out_.bytes().size() > checked_) budget_.spend_bytes(checked_ = 2 * out_.bytes().size());
  }

 private:
  static std::string atom(const Value& value) {
    if (value.is_none()) return "null";
    if (value.is_bool()) return value.truth() ? "true" : "false";
    if (value.is_number()) return json_number(value);
    throw Failure(concat("Object of type ", value.type_name(), " is not JSON serializable"));
  }
  void write_text(const Text& text) {
    budget_.spend_bytes(text.bytes().size());
    out_.append("\"");
    const std::string& bytes = text.bytes();
    size_t done = 0;  // everything before is written
    for (size_t at = 0; at < bytes.size();) {
      const Utf8Unit unit = next_utf8(std::string_view(bytes).substr(at));
      const size_t end = at + static_cast<size_t>(unit.length);
      if (const std::string escape = json_escape(unit.code_point, style_.ensure_ascii);
          !escape.empty()) {
        out_.append(text.slice_bytes(done, at));
        out_.append(text.slice_bytes(at, end).with_bytes(escape));
        done = end;
      }
      at = end;
    }
    out_.append(text.slice_bytes(done, bytes.size()));
    out_.append("\"");
  }
  void write_key(const Value& key) {
    if (key.text()) return write_text(*key.text());
    if (!key.is_none() && !key.is_number())
      throw Failure(concat("keys must be str, int, float, bool or None, not ", key.type_name()));
    out_.append("\"" + atom(key) + "\"");
  }
  void new_line(size_t level) {
    if (!style_.indent) return;
    budget_.spend_bytes(level * style_.indent->bytes().size());
    out_.append("\n");
    for (size_t i = 0; i < level; ++i) out_.append(*style_.indent);
  }
  void write_list(const Values& items, size_t level) {
    out_.append("[");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_.append(style_.item_separator);
      new_line(level + 1);
      write(items[i], level + 1);
    }
    if (!items.empty()) new_line(level);
    out_.append("]");
  }
  void write_dict(const Dict& dict, size_t level) {
    auto entries = dict.entries();
    if (style_.sort_keys)
      std::stable_sort(entries.begin(), entries.end(),
                       [](const auto& a, const auto& b) { return less(a.first, b.first); });
    out_.append("{");
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_.append(style_.item_separator);
      new_line(level + 1);
      write_key(entries[i].first);
      out_.append(style_.key_separator);
      write(entries[i].second, level + 1);
    }
    if (!entries.empty()) new_line(level);
    out_.append("}");
  }

  const JsonStyle& style_;
  Budget& budget_;
  Text out_;
  size_t checked_ = 1 << 12;
};

}  // namespace

Text to_json(const Value& value, const JsonStyle& style, Budget& budget) {
  JsonWriter writer(style, budget);
  writer.write(value, 0);
  return writer.finish();
}

}  // namespace bitsmith::jinja
