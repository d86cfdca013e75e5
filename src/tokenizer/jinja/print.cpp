#include "tokenizer/jinja/print.h"

#include <utf8proc.h>

#include <charconv>
#include <cmath>
#include <cstdio>

#include "tokenizer/utf8.h"

namespace bitsmith::jinja {
namespace {

std::string character_escape(char32_t c) {
  char text[16];
  const auto code = static_cast<unsigned>(c);
  std::snprintf(text, sizeof(text),
                c < 0x100     ? "\\x%02x"
                : c < 0x10000 ? "\\u%04x"
                              : "\\U%08x",
                code);
  return text;
}

// One character inside quotation marks.
std::string repr_character(char32_t c, std::string_view bytes, char quote) {
  switch (c) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\\':
      return "\\\\";
    default:
      if (c == static_cast<char32_t>(quote)) return {'\\', quote};
      return is_printable(c) ? std::string(bytes) : character_escape(c);
  }
}

Text repr_text(const Text& text) {
  const std::string& bytes = text.bytes();
  const bool has_single = bytes.find('\'') != bytes.npos,
             has_double = bytes.find('"') != bytes.npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  Text result;
  result.append(std::string(1, quote));
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Unit unit = next_utf8(std::string_view(bytes).substr(at));
    const auto size = static_cast<size_t>(unit.length);
    const Text character = text.slice_bytes(at, at + size);
    result.append(character.with_bytes(repr_character(unit.code_point, character.bytes(), quote)));
    at += size;
  }
  result.append(std::string(1, quote));
  return result;
}

class ReprWriter {
 public:
  explicit ReprWriter(Budget& budget) : budget_(budget) {}
  void write(const Value& value) {
    budget_.spend(1);
    if (value.text()) {
      budget_.spend_bytes(value.text()->bytes().size());
      out_.append(repr_text(*value.text()));
    } else if (value.sequence()) {
      write_sequence(*value.sequence());
    } else if (value.dict()) {
      write_dict(*value.dict());
    } else {
      out_.append(atom(value));
    }
    if (out_.bytes().size() > checked_) budget_.spend_bytes(checked_ = 2 * out_.bytes().size());
  }
  Text finish() { return std::move(out_); }

 private:
  static std::string atom(const Value& value) {
    if (value.is_undefined()) return "Undefined";
    if (value.is_none()) return "None";
    if (value.is_bool()) return value.truth() ? "True" : "False";
    if (value.is_float()) return float_text(*value.number());
    return value.object() ? value.object()->print() : std::to_string(*value.integer());
  }
  void write_items(const Values& items) {
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_.append(", ");
      write(items[i]);
    }
  }
  void write_sequence(const Sequence& sequence) {
    using Kind = Sequence::Kind;
    const Values& items = sequence.items;
    if (sequence.kind == Kind::kGenerator) {
      out_.append("<generator object>");
    } else if (sequence.kind == Kind::kRange) {
      out_.append(concat("range(", items.empty() ? 0 : *items.front().integer(), ", ",
                         items.empty() ? 0 : *items.back().integer() + 1, ")"));
    } else if (sequence.kind == Kind::kTuple) {
      out_.append("(");
      write_items(items);
      out_.append(items.size() == 1 ? ",)" : ")");
    } else {
      const char* name = sequence.kind == Kind::kKeys     ? "dict_keys(["
                         : sequence.kind == Kind::kValues ? "dict_values(["
                         : sequence.kind == Kind::kItems  ? "dict_items(["
                                                          : "[";
      out_.append(name);
      write_items(items);
      out_.append(sequence.kind == Kind::kList ? "]" : "])");
    }
  }
  void write_dict(const Dict& dict) {
    out_.append("{");
    bool first = true;
    for (const auto& [key, value] : dict.entries()) {
      if (!std::exchange(first, false)) out_.append(", ");
      write(key);
      out_.append(": ");
      write(value);
    }
    out_.append("}");
  }

  Budget& budget_;
  Text out_;
  size_t checked_ = 1 << 12;
};

}  // namespace

Text to_text(const Value& value, Budget& budget) {
  if (value.text()) return *value.text();
  if (value.is_undefined()) return {};
  return to_repr(value, budget);
}

Text to_repr(const Value& value, Budget& budget) {
  ReprWriter writer(budget);
  writer.write(value);
  return writer.finish();
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  const std::string_view written(buffer, static_cast<size_t>(end.ptr - buffer));
  const size_t mark = written.find('e');
  const int exponent = std::atoi(std::string(written.substr(mark + 1)).c_str());
  if (exponent < -4 || exponent >= 16) return std::string(written);  // 1e-05, 1.5e+16
  const auto plain =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed);
  std::string text(buffer, plain.ptr);
  if (text.find('.') == text.npos) text += ".0";
  return text;
}

bool is_printable(char32_t c) {
  if (c < 0x7F) return c >= ' ';
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category != UTF8PROC_CATEGORY_CN && category < UTF8PROC_CATEGORY_ZS;
}

}  // namespace bitsmith::jinja
