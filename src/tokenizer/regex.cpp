#include "tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "tokenizer/utf8.h"

namespace bitsmith {
namespace {

// What Oniguruma's \s and \w hold. PCRE2's differ: its \s has U+180E too, its \w (10.42) lacks
// marks and connectors.
constexpr std::string_view kSpace = "\\t-\\r\\x{85}\\p{Z}";
constexpr std::string_view kWord = "\\p{L}\\p{M}\\p{Nd}\\p{Pc}";

// Whether \\p{name} is a script. Oniguruma means the property Script; PCRE2 without "sc:" means
// Script_Extensions, which holds punctuation that scripts share.
bool is_script(const std::string& name) {
  const std::string pattern = "\\p{sc:" + name + "}";
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF, &error, &offset, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

// Rewrites the escapes whose meaning differs, and refuses what cannot be rewritten: \h (hex digits
// there, blanks here), nested classes and intersections.
std::string translate(const std::string& pattern, const std::string& source) {
  const auto refuse = [&](std::string_view what) {
    throw Error(concat(source, ": the regular expression uses ", what,
                       ", which is not supported: ", excerpt(pattern, 200)));
  };
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      const bool space = escaped == 's' || escaped == 'S', word = escaped == 'w' || escaped == 'W';
      if (escaped == 'h' || escaped == 'H') refuse("\\h");
      if ((escaped == 'p' || escaped == 'P') && pattern.compare(i + 1, 1, "{") == 0) {
        const size_t close = pattern.find('}', i);
        const std::string name = pattern.substr(i + 2, close - i - 2);
        const bool letters = std::all_of(name.begin(), name.end(), [](char letter) {
          return (letter | 32) >= 'a' && (letter | 32) <= 'z';
        });
        if (close != std::string::npos && name.size() > 2 && letters && is_script(name)) {
          out += concat('\\', escaped, "{sc:", name, "}");
          i = close;
          continue;
        }
      }
      if (escaped == 'Q' || escaped == 'C') refuse(concat("\\", escaped));
      if ((space || word) && !(in_class && (escaped == 'S' || escaped == 'W'))) {
        const bool negated = escaped == 'S' || escaped == 'W';
        if (!in_class) out += negated ? "[^" : "[";
        out += space ? kSpace : kWord;
        if (!in_class) out += ']';
      } else {
        out += c;
        out += escaped;
      }
      continue;
    }
    if (in_class) {
      const bool posix = c == '[' && i + 1 < pattern.size() && pattern[i + 1] == ':';
      if (posix) {
        const size_t close = pattern.find(":]", i + 2);
        if (close == std::string::npos) refuse("an unclosed [: :]");
        out += pattern.substr(i, close + 2 - i);
        i = close + 1;
        continue;
      }
      if (c == '[') refuse("a class inside a class");
      if (c == '&' && i + 1 < pattern.size() && pattern[i + 1] == '&') refuse("&& in a class");
      if (c == ']') in_class = false;
    } else if (c == '[') {
      in_class = true;
      out += c;
      if (i + 1 < pattern.size() && pattern[i + 1] == '^') out += pattern[++i];
      // A ] right after the opening stands for itself.
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') {
        out += "\\]";
        ++i;
      }
      continue;
    }
    out += c;
  }
  return out;
}

// A thread's working memory for matching.
struct MatchState {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(64 << 10, 16 << 20, nullptr);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  MatchState() {
    if (context == nullptr || stack == nullptr || data == nullptr) throw std::bad_alloc();
    pcre2_jit_stack_assign(context, nullptr, stack);
    pcre2_set_heap_limit(context, 256 << 10);  // KiB
  }
  ~MatchState() {
    pcre2_match_data_free(data);
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
  }
};

std::string pcre2_message(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

Regex::Regex(const std::string& pattern, const std::string& source) : source_(source) {
  constexpr size_t kMaxPattern = 64 << 10;
  if (pattern.size() > kMaxPattern)
    throw Error(concat(source, ": a regular expression of ", pattern.size(), " bytes is too long"));
  const std::string translated = translate(pattern, source);
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Ruby's ^ and $ match at every line.
  pcre2_code* code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_UTF_CHECK, &error, &offset, context.get());
  if (code == nullptr)
    throw Error(concat(source, ": the regular expression does not compile (", pcre2_message(error),
                       " at byte ", offset, "): ", excerpt(pattern, 200)));
  code_ = std::shared_ptr<const void>(
      code, [](const void* p) { pcre2_code_free(static_cast<pcre2_code*>(const_cast<void*>(p))); });
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where it fails, the interpreter serves
}

std::optional<Span> Regex::find(std::string_view text, size_t from) const {
  thread_local MatchState state;
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  // Backtracking over a run of n characters is honest work; more than a few steps each is not.
  const uint64_t steps = 10'000'000 + 20 * static_cast<uint64_t>(text.size());
  pcre2_set_match_limit(state.context, static_cast<uint32_t>(std::min<uint64_t>(steps, 1u << 31)));
  int result =
      pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, state.data, state.context);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT)
    result = pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         state.data, state.context);
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (result < 0)
    throw Error(
        concat(source_, ": a regular expression gave up on this text: ", pcre2_message(result)));
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(state.data);
  // \K may put the start of a match anywhere.
  return Span{std::clamp(bounds[0], from, bounds[1]), bounds[1]};
}

size_t Regex::next_character(std::string_view text, size_t at) {
  return at < text.size() ? at + next_utf8(text.substr(at)).length : at + 1;
}

std::string Regex::escape(std::string_view literal) {
  std::string out;
  for (const char c : literal) {
    if (std::strchr("\\^$.|?*+()[]{}-&~# ", c) != nullptr && c != '\0') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace bitsmith
