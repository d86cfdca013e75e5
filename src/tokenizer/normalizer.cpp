#include "tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>

#include "base/base64.h"
#include "tokenizer/charsmap.h"
#include "tokenizer/expansion.h"
#include "tokenizer/utf8.h"

namespace bitsmith {
namespace {

// Unicode normalization forms (UAX 15).
class UnicodeForm final : public NormalizerStep {
 public:
  explicit UnicodeForm(int options) : options_(options) {}
  // An ASCII character changes nothing before it and is changed by nothing before it: each with the
  // others behind it is normalized by itself.
  std::string apply(std::string text, Stretches& stretches) const override {
    const auto is_ascii = [](char c) { return (c & 0x80) == 0; };
    std::string out;
    for (auto done = text.cbegin(); done != text.cend();) {
      auto begin = std::find_if_not(done, text.cend(), is_ascii);
      const auto end = std::find_if(begin, text.cend(), is_ascii);
      if (begin != done && begin != text.cend()) --begin;  // what marks are put on
      out.append(done, begin);
      stretches.copied(static_cast<size_t>(begin - text.cbegin()));
      if (begin != end) {
        const std::string form = form_of({begin, end});
        if (is_ascii(*begin) && form.starts_with(*begin))
          stretches.copied(static_cast<size_t>(begin - text.cbegin()) + 1);
        out += form;
      }
      stretches.rewritten(static_cast<size_t>(end - text.cbegin()), out.size());
      done = end;
    }
    return out;
  }

 private:
  std::string form_of(std::string_view text) const {
    utf8proc_uint8_t* out = nullptr;
    const utf8proc_ssize_t size = utf8proc_map(
        reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
        static_cast<utf8proc_ssize_t>(text.size()), &out, static_cast<utf8proc_option_t>(options_));
    const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(out, std::free);
    if (size < 0) throw Error(concat("Unicode normalization failed: ", utf8proc_errmsg(size)));
    return std::string(reinterpret_cast<const char*>(out), size);
  }

  int options_;
};

class Prepend final : public NormalizerStep {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string apply(std::string text, Stretches& stretches) const override {
    if (text.empty()) return text;
    stretches.rewritten(0, prefix_.size());
    stretches.copied(text.size());
    return prefix_ + text;
  }

 private:
  std::string prefix_;
};

class Replace final : public NormalizerStep {
 public:
  Replace(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::string apply(std::string text, Stretches& stretches) const override {
    return replace_all(text, pattern_, content_, stretches);
  }

 private:
  Regex pattern_;
  std::string content_;
};

class Precompiled final : public NormalizerStep {
 public:
  explicit Precompiled(Charsmap charsmap) : charsmap_(std::move(charsmap)) {}
  std::string apply(std::string text, Stretches& stretches) const override {
    return charsmap_.apply(text, stretches);
  }

 private:
  Charsmap charsmap_;
};

class Strip final : public NormalizerStep {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  std::string apply(std::string text, Stretches& stretches) const override {
    const size_t size = text.size();
    if (right_) text.resize(size - trailing_space(text));
    const size_t end = text.size(), begin = left_ ? leading_space(text) : 0;
    text.erase(0, begin);
    stretches.rewritten(begin, 0);
    stretches.copied(end);
    stretches.rewritten(size, text.size());
    return text;
  }

 private:
  bool left_, right_;
};

// Every character becomes what append(character, out) makes of it.
class Characters final : public NormalizerStep {
 public:
  using Append = void (*)(char32_t, std::string&);
  explicit Characters(Append append) : append_(append) {}
  std::string apply(std::string text, Stretches& stretches) const override {
    std::string out;
    for (std::string_view rest = text; !rest.empty();) {
      const Utf8Unit unit = next_utf8(rest);
      append_(unit.code_point, out);
      rest.remove_prefix(static_cast<size_t>(unit.length));
      stretches.rewritten(text.size() - rest.size(), out.size());
    }
    return out;
  }

 private:
  Append append_;
};

void append_lowercase(char32_t c, std::string& out) {
  if (c == 0x130)
    out += "i\u0307";  // the one letter whose small form is two characters
  else
    append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

void append_without_mark(char32_t c, std::string& out) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  if (category < UTF8PROC_CATEGORY_MN || category > UTF8PROC_CATEGORY_ME) append_utf8(out, c);
}

constexpr int kCompose = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
constexpr int kDecompose = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;

void add_normalizer_steps(const Json& json, const std::string& source,
                          std::vector<std::unique_ptr<NormalizerStep>>& steps) {
  const auto type = json_get<std::string>(json, "type", source);
  if (type == "Sequence") {
    for (const Json& step : json_get<Json>(json, "normalizers", source))
      add_normalizer_steps(step, source, steps);
  } else if (type == "NFC") {
    steps.push_back(std::make_unique<UnicodeForm>(kCompose));
  } else if (type == "NFD") {
    steps.push_back(std::make_unique<UnicodeForm>(kDecompose));
  } else if (type == "NFKC") {
    steps.push_back(std::make_unique<UnicodeForm>(kCompose | UTF8PROC_COMPAT));
  } else if (type == "NFKD") {
    steps.push_back(std::make_unique<UnicodeForm>(kDecompose | UTF8PROC_COMPAT));
  } else if (type == "Prepend") {
    steps.push_back(std::make_unique<Prepend>(json_get<std::string>(json, "prepend", source)));
  } else if (type == "Replace") {
    steps.push_back(std::make_unique<Replace>(pattern_from_json(json, source),
                                              json_get<std::string>(json, "content", source)));
  } else if (type == "Precompiled") {
    const auto charsmap =
        decode_base64(json_get<std::string>(json, "precompiled_charsmap", source));
    if (!charsmap) throw Error(source + ": 'precompiled_charsmap' is not base64");
    steps.push_back(std::make_unique<Precompiled>(Charsmap(*charsmap, source)));
  } else if (type == "Strip") {
    steps.push_back(std::make_unique<Strip>(json_get<bool>(json, "strip_left", source),
                                            json_get<bool>(json, "strip_right", source)));
  } else if (type == "Lowercase") {
    steps.push_back(std::make_unique<Characters>(append_lowercase));
  } else if (type == "StripAccents") {
    steps.push_back(std::make_unique<Characters>(append_without_mark));
  } else {
    throw Error(concat(source, ": normalizer '", excerpt(type),
                       "' is not supported; supported: Sequence, NFC, NFD, NFKC, NFKD, Prepend, "
                       "Replace, Precompiled, Strip, Lowercase, StripAccents"));
  }
}

}  // namespace

Normalizer::Normalizer(const Json& json, const std::string& source) {
  if (!json.is_null()) add_normalizer_steps(json, source + ": normalizer", steps_);
}

std::string Normalizer::apply(std::string text) const {
  std::vector<Span> none;
  return apply(std::move(text), none);
}

std::string Normalizer::apply(std::string text, std::vector<Span>& stretches) const {
  const size_t limit = expansion_limit(text.size());
  for (const auto& step : steps_) {
    Stretches followed(stretches);
    text = step->apply(std::move(text), followed);
    stretches = std::move(followed).in_output();
    check_expansion(text.size(), limit);
  }
  return text;
}

std::string replace_all(std::string_view text, const Regex& pattern, std::string_view content) {
  const std::vector<Span> none;
  Stretches stretches(none);
  return replace_all(text, pattern, content, stretches);
}

std::string replace_all(std::string_view text, const Regex& pattern, std::string_view content,
                        Stretches& stretches) {
  const size_t limit = expansion_limit(text.size());
  std::string out;
  size_t done = 0;
  pattern.for_each_match(text, [&](Span match) {
    out.append(text.substr(done, match.begin - done)).append(content);
    check_expansion(out.size(), limit);
    stretches.copied(match.begin);
    stretches.rewritten(match.end, out.size());
    done = match.end;
  });
  stretches.copied(text.size());
  return out.append(text.substr(done));
}

Regex pattern_from_json(const Json& step, const std::string& source) {
  const auto pattern = json_get<Json>(step, "pattern", source);
  if (pattern.is_object() && pattern.contains("String"))
    return Regex(Regex::escape(json_get<std::string>(pattern, "String", source)), source);
  return Regex(json_get<std::string>(pattern, "Regex", source), source);
}

}  // namespace bitsmith
