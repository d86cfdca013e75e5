#include "tokenizer/decoder.h"

#include "tokenizer/byte_level.h"
#include "tokenizer/expansion.h"
#include "tokenizer/json_integer.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/utf8.h"
#include "tokenizer/vocabulary.h"

namespace bitsmith {
namespace {

using Tokens = std::vector<std::string>;

std::string join(const Tokens& tokens) {
  std::string out;
  for (const std::string& token : tokens) out += token;
  return out;
}

class ByteLevelDecoder final : public DecoderStep {
 public:
  Tokens apply(Tokens tokens) const override {
    std::string bytes;
    for (std::string& token : tokens) bytes += token_bytes(std::move(token));
    return {repair_utf8(bytes)};
  }
  std::string token_bytes(std::string token) const override {
    return from_byte_level(token).value_or(token);
  }
};

class ByteFallback final : public DecoderStep {
 public:
  Tokens apply(Tokens tokens) const override {
    Tokens out;
    std::string bytes;
    const auto flush = [&] {
      if (is_valid_utf8(bytes)) {
        if (!bytes.empty()) out.push_back(bytes);
      } else {
        out.insert(out.end(), bytes.size(), "\uFFFD");
      }
      bytes.clear();
    };
    for (std::string& token : tokens) {
      if (const auto byte = parse_byte_token(token)) {
        bytes += static_cast<char>(*byte);
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    return out;
  }
  std::string token_bytes(std::string token) const override {
    const auto byte = parse_byte_token(token);
    return byte ? std::string(1, static_cast<char>(*byte)) : token;
  }
};

class MetaspaceDecoder final : public DecoderStep {
 public:
  MetaspaceDecoder(const std::string& mark, bool prepends, const std::string& source)
      : mark_(Regex::escape(mark), source), prepends_(prepends) {}
  Tokens apply(Tokens tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = replace_all(tokens[i], mark_, i == 0 && prepends_ ? "" : " ");
    return tokens;
  }
  std::string token_bytes(std::string token) const override {
    return replace_all(token, mark_, " ");
  }

 private:
  Regex mark_;
  bool prepends_;
};

class ReplaceDecoder final : public DecoderStep {
 public:
  ReplaceDecoder(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  Tokens apply(Tokens tokens) const override {
    for (std::string& token : tokens) token = replace_all(token, pattern_, content_);
    return tokens;
  }
  std::string token_bytes(std::string token) const override {
    return replace_all(token, pattern_, content_);
  }

 private:
  Regex pattern_;
  std::string content_;
};

class Fuse final : public DecoderStep {
 public:
  Tokens apply(Tokens tokens) const override { return {join(tokens)}; }
  std::string token_bytes(std::string token) const override { return token; }
};

// Takes up to `start` characters `content` off the front of every text and up to `stop` off its
// end. In the middle of a text nothing is to be taken off.
class Strip final : public DecoderStep {
 public:
  Strip(std::string content, size_t start, size_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  Tokens apply(Tokens tokens) const override {
    for (std::string& token : tokens) {
      std::string_view rest = token;
      for (size_t i = 0; i < start_ && rest.starts_with(content_); ++i)
        rest.remove_prefix(content_.size());
      for (size_t i = 0; i < stop_ && rest.ends_with(content_); ++i)
        rest.remove_suffix(content_.size());
      token = std::string(rest);
    }
    return tokens;
  }
  std::string token_bytes(std::string token) const override { return token; }

 private:
  std::string content_;
  size_t start_, stop_;
};

void add_decoder_steps(const Json& json, const std::string& source,
                       std::vector<std::unique_ptr<DecoderStep>>& steps) {
  const auto type = json_get<std::string>(json, "type", source);
  if (type == "Sequence") {
    for (const Json& step : json_get<Json>(json, "decoders", source))
      add_decoder_steps(step, source, steps);
  } else if (type == "ByteLevel") {
    steps.push_back(std::make_unique<ByteLevelDecoder>());
  } else if (type == "ByteFallback") {
    steps.push_back(std::make_unique<ByteFallback>());
  } else if (type == "Fuse") {
    steps.push_back(std::make_unique<Fuse>());
  } else if (type == "Metaspace") {
    const bool prefix = json_get_or<bool>(json, "add_prefix_space", true, source);
    const auto scheme =
        json_get_or<std::string>(json, "prepend_scheme", prefix ? "always" : "never", source);
    const auto mark = json_get<std::string>(json, "replacement", source);
    if (mark.empty()) throw Error(concat(source, ": Metaspace's 'replacement' is empty"));
    steps.push_back(std::make_unique<MetaspaceDecoder>(mark, scheme != "never", source));
  } else if (type == "Replace") {
    steps.push_back(std::make_unique<ReplaceDecoder>(
        pattern_from_json(json, source), json_get<std::string>(json, "content", source)));
  } else if (type == "Strip") {
    const auto content = json_get<std::string>(json, "content", source);
    if (content.empty()) throw Error(concat(source, ": Strip's 'content' is empty"));
    const auto count = [&](const char* key) {
      const int64_t n = json_integer(json_get<Json>(json, key, source), key, source);
      if (n < 0) throw Error(concat(source, ": Strip's '", key, "' is negative"));
      return static_cast<size_t>(n);
    };
    steps.push_back(std::make_unique<Strip>(content, count("start"), count("stop")));
  } else {
    throw Error(concat(source, ": decoder '", excerpt(type),
                       "' is not supported; supported: Sequence, ByteLevel, ByteFallback, Fuse, "
                       "Metaspace, Replace, Strip"));
  }
}

}  // namespace

TokenDecoder::TokenDecoder(const Json& json, const std::string& source) {
  if (!json.is_null()) add_decoder_steps(json, source + ": decoder", steps_);
}

std::string TokenDecoder::apply(std::vector<std::string> tokens) const {
  const auto size_of = [&] {
    size_t size = 0;
    for (const std::string& token : tokens) size += token.size();
    return size;
  };
  const size_t limit = expansion_limit(size_of());
  if (steps_.empty())
    for (size_t i = 1; i < tokens.size(); ++i) tokens[i].insert(tokens[i].begin(), ' ');
  for (const auto& step : steps_) {
    tokens = step->apply(std::move(tokens));
    check_expansion(size_of(), limit);
  }
  return join(tokens);
}

std::string TokenDecoder::token_bytes(std::string token) const {
  const size_t limit = expansion_limit(token.size());
  for (const auto& step : steps_) {
    if (!is_valid_utf8(token)) break;  // already raw bytes
    token = step->token_bytes(std::move(token));
    check_expansion(token.size(), limit);
  }
  return token;
}

}  // namespace bitsmith
