#include "tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>

#include "tokenizer/expansion.h"

namespace bitsmith {
namespace {

// Unicode normalization forms (UAX 15).
class UnicodeForm final : public NormalizerStep {
 public:
  explicit UnicodeForm(int options) : options_(options) {}
  std::string apply(std::string text) const override {
    const bool ascii =
        std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
    if (ascii) return text;
    utf8proc_uint8_t* out = nullptr;
    const utf8proc_ssize_t size = utf8proc_map(
        reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
        static_cast<utf8proc_ssize_t>(text.size()), &out, static_cast<utf8proc_option_t>(options_));
    const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(out, std::free);
    if (size < 0) throw Error(concat("Unicode normalization failed: ", utf8proc_errmsg(size)));
    return std::string(reinterpret_cast<const char*>(out), size);
  }

 private:
  int options_;
};

class Prepend final : public NormalizerStep {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string apply(std::string text) const override {
    return text.empty() ? text : prefix_ + text;
  }

 private:
  std::string prefix_;
};

class Replace final : public NormalizerStep {
 public:
  Replace(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::string apply(std::string text) const override {
    return replace_all(text, pattern_, content_);
  }

 private:
  Regex pattern_;
  std::string content_;
};

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
  } else {
    throw Error(concat(source, ": normalizer '", excerpt(type),
                       "' is not supported; supported: Sequence, NFC, NFD, NFKC, NFKD, Prepend, "
                       "Replace"));
  }
}

}  // namespace

Normalizer::Normalizer(const Json& json, const std::string& source) {
  if (!json.is_null()) add_normalizer_steps(json, source + ": normalizer", steps_);
}

Normalizer Normalizer::nfc() {
  Normalizer normalizer;
  normalizer.steps_.push_back(std::make_unique<UnicodeForm>(kCompose));
  return normalizer;
}

std::string Normalizer::apply(std::string text) const {
  const size_t limit = expansion_limit(text.size());
  for (const auto& step : steps_) {
    text = step->apply(std::move(text));
    check_expansion(text.size(), limit);
  }
  return text;
}

std::string replace_all(std::string_view text, const Regex& pattern, std::string_view content) {
  const size_t limit = expansion_limit(text.size());
  std::string out;
  size_t done = 0;
  pattern.for_each_match(text, [&](Span match) {
    out.append(text.substr(done, match.begin - done)).append(content);
    check_expansion(out.size(), limit);
    done = match.end;
  });
  return out.append(text.substr(done));
}

Regex pattern_from_json(const Json& step, const std::string& source) {
  const auto pattern = json_get<Json>(step, "pattern", source);
  if (pattern.is_object() && pattern.contains("String"))
    return Regex(Regex::escape(json_get<std::string>(pattern, "String", source)), source);
  return Regex(json_get<std::string>(pattern, "Regex", source), source);
}

}  // namespace bitsmith
