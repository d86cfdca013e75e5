#include "tokenizer/pre_tokenizer.h"

#include "tokenizer/byte_level.h"
#include "tokenizer/expansion.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/utf8.h"

namespace bitsmith {
namespace {

// Cuts every piece: matches_of(piece, matches) fills in where, relative to the piece.
template <typename MatchesOf>
void cut(Pieces& pieces, SplitBehavior behavior, bool invert, MatchesOf&& matches_of) {
  std::vector<Span> spans, matches;
  spans.reserve(pieces.spans.size());
  const std::string_view text = pieces.text;
  for (const Span& span : pieces.spans) {
    const std::string_view piece = text.substr(span.begin, span.end - span.begin);
    matches.clear();
    matches_of(piece, matches);
    split_at(matches, piece.size(), behavior, invert, span.begin, spans);
  }
  pieces.at_start = pieces.at_start && !spans.empty() && !pieces.spans.empty() &&
                    spans.front().begin == pieces.spans.front().begin;
  pieces.spans = std::move(spans);
}

// Rewrites every piece: append(piece, index, out).
template <typename Append>
void rewrite(Pieces& pieces, Append&& append) {
  std::string out;
  out.reserve(pieces.text.size() + pieces.text.size() / 4);
  for (size_t i = 0; i < pieces.spans.size(); ++i) {
    Span& span = pieces.spans[i];
    const size_t begin = out.size();
    append(std::string_view(pieces.text).substr(span.begin, span.end - span.begin), i, out);
    span = {begin, out.size()};
  }
  pieces.text = std::move(out);
}

class RegexSplit final : public PreTokenizerStep {
 public:
  RegexSplit(Regex pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void apply(Pieces& pieces) const override {
    cut(pieces, behavior_, invert_, [&](std::string_view piece, std::vector<Span>& matches) {
      pattern_.for_each_match(piece, [&](Span match) {
        pieces.deadline.check();
        matches.push_back(match);
      });
    });
  }

 private:
  Regex pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

// Every character of a class is a match: Digits, Punctuation.
class CharacterSplit final : public PreTokenizerStep {
 public:
  CharacterSplit(bool (*is_match)(char32_t), SplitBehavior behavior)
      : is_match_(is_match), behavior_(behavior) {}
  void apply(Pieces& pieces) const override {
    cut(pieces, behavior_, false, [&](std::string_view piece, std::vector<Span>& matches) {
      for (size_t i = 0; i < piece.size();) {
        const Utf8Unit unit = next_utf8(piece.substr(i));
        if (is_match_(unit.code_point)) matches.push_back({i, i + unit.length});
        i += unit.length;
      }
    });
  }

 private:
  bool (*is_match_)(char32_t);
  SplitBehavior behavior_;
};

class ByteLevel final : public PreTokenizerStep {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex, const std::string& source)
      : add_prefix_space_(add_prefix_space) {
    if (use_regex) words_.emplace(Regex(kGpt2Pattern, source), SplitBehavior::kIsolated, false);
  }
  void apply(Pieces& pieces) const override {
    if (add_prefix_space_)
      rewrite(pieces, [](std::string_view piece, size_t, std::string& out) {
        if (!piece.starts_with(' ')) out += ' ';
        out += piece;
      });
    if (words_) words_->apply(pieces);
    rewrite(pieces,
            [](std::string_view piece, size_t, std::string& out) { out += to_byte_level(piece); });
  }

 private:
  bool add_prefix_space_;
  std::optional<RegexSplit> words_;
};

// Spaces become a visible mark, with one more before the text, and words start at marks.
class Metaspace final : public PreTokenizerStep {
 public:
  enum class Prepend { kAlways, kFirst, kNever };
  Metaspace(std::string mark, Prepend prepend, bool split)
      : mark_(std::move(mark)), prepend_(prepend), split_(split) {}
  void apply(Pieces& pieces) const override {
    const bool at_start = pieces.at_start;
    rewrite(pieces, [&](std::string_view piece, size_t index, std::string& out) {
      const bool wanted =
          prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && index == 0 && at_start);
      if (wanted && !piece.starts_with(' ') && !piece.starts_with(mark_)) out += mark_;
      for (const char c : piece) {
        if (c == ' ')
          out += mark_;
        else
          out += c;
      }
    });
    if (!split_) return;
    cut(pieces, SplitBehavior::kMergedWithNext, false,
        [&](std::string_view piece, std::vector<Span>& matches) {
          for (size_t i = piece.find(mark_); i != piece.npos; i = piece.find(mark_, i + 1))
            matches.push_back({i, i + mark_.size()});
        });
  }

 private:
  std::string mark_;
  Prepend prepend_;
  bool split_;
};

SplitBehavior parse_behavior(const std::string& name, const std::string& source) {
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  throw Error(concat(source, ": unknown split behavior '", excerpt(name), "'"));
}

std::unique_ptr<PreTokenizerStep> make_metaspace(const Json& json, const std::string& source) {
  const auto mark = json_get<std::string>(json, "replacement", source);
  if (mark.empty() || static_cast<size_t>(next_utf8(mark).length) != mark.size())
    throw Error(concat(source, ": Metaspace's 'replacement' must be one character"));
  // Files from before `prepend_scheme` existed say add_prefix_space instead.
  const bool add_prefix_space = json_get_or<bool>(json, "add_prefix_space", true, source);
  const auto scheme = json_get_or<std::string>(json, "prepend_scheme",
                                               add_prefix_space ? "always" : "never", source);
  Metaspace::Prepend prepend;
  if (scheme == "always")
    prepend = Metaspace::Prepend::kAlways;
  else if (scheme == "first")
    prepend = Metaspace::Prepend::kFirst;
  else if (scheme == "never")
    prepend = Metaspace::Prepend::kNever;
  else
    throw Error(concat(source, ": unknown prepend_scheme '", excerpt(scheme), "'"));
  return std::make_unique<Metaspace>(mark, prepend, json_get_or<bool>(json, "split", true, source));
}

void add_steps(const Json& json, const std::string& source,
               std::vector<std::unique_ptr<PreTokenizerStep>>& steps) {
  const auto type = json_get<std::string>(json, "type", source);
  const auto behavior = [&](const char* fallback) {
    return parse_behavior(json_get_or<std::string>(json, "behavior", fallback, source), source);
  };
  if (type == "Sequence") {
    for (const Json& step : json_get<Json>(json, "pretokenizers", source))
      add_steps(step, source, steps);
  } else if (type == "ByteLevel") {
    steps.push_back(
        std::make_unique<ByteLevel>(json_get_or<bool>(json, "add_prefix_space", true, source),
                                    json_get_or<bool>(json, "use_regex", true, source), source));
  } else if (type == "Split") {
    steps.push_back(std::make_unique<RegexSplit>(pattern_from_json(json, source),
                                                 behavior("Isolated"),
                                                 json_get_or<bool>(json, "invert", false, source)));
  } else if (type == "Digits") {
    const bool individual = json_get_or<bool>(json, "individual_digits", false, source);
    steps.push_back(std::make_unique<CharacterSplit>(
        is_numeric, individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous));
  } else if (type == "WhitespaceSplit") {
    steps.push_back(std::make_unique<CharacterSplit>(is_white_space, SplitBehavior::kRemoved));
  } else if (type == "Punctuation") {
    steps.push_back(std::make_unique<CharacterSplit>(is_punctuation, behavior("Isolated")));
  } else if (type == "Metaspace") {
    steps.push_back(make_metaspace(json, source));
  } else {
    throw Error(concat(source, ": pre-tokenizer '", excerpt(type),
                       "' is not supported; supported: Sequence, ByteLevel, Split, Digits, "
                       "Punctuation, Metaspace, WhitespaceSplit"));
  }
}

}  // namespace

PreTokenizer::PreTokenizer(const Json& json, const std::string& source) {
  if (!json.is_null()) add_steps(json, source + ": pre_tokenizer", steps_);
}

Pieces PreTokenizer::apply(std::string text, bool at_start, const Deadline& deadline) const {
  const size_t limit = expansion_limit(text.size());
  Pieces pieces{std::move(text), {}, at_start, deadline};
  if (!pieces.text.empty()) pieces.spans.push_back({0, pieces.text.size()});
  for (const auto& step : steps_) {
    step->apply(pieces);
    check_expansion(pieces.text.size(), limit);
  }
  return pieces;
}

}  // namespace bitsmith
