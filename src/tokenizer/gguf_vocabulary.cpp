#include "tokenizer/gguf_vocabulary.h"

#include <cmath>

#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/json_integer.h"
#include "tokenizer/spm_tokenizer.h"

namespace bitsmith {
namespace {

// Values of tokenizer.ggml.token_type.
enum TokenType {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

// The keys of the vocabulary, checked for type and size.
class Keys {
 public:
  Keys(const Json& keys, const std::string& source) : keys_(keys), source_(source) {}

  bool has(const std::string& name) const {
    return keys_.is_object() && keys_.contains(full(name));
  }
  template <typename T>
  T get(const std::string& name) const {
    return json_get<T>(keys_, full(name), source_);
  }
  template <typename T>
  T get_or(const std::string& name, T fallback) const {
    return json_get_or<T>(keys_, full(name), fallback, source_);
  }
  const Json& array(const std::string& name) const {
    if (!has(name) || !keys_.at(full(name)).is_array())
      throw Error(concat(source_, ": the array '", full(name), "' is missing"));
    return keys_.at(full(name));
  }
  std::vector<std::string> strings(const std::string& name) const {
    std::vector<std::string> out;
    for (const Json& item : array(name)) {
      if (!item.is_string())
        throw Error(concat(source_, ": '", full(name), "' is not all strings"));
      out.push_back(item.get<std::string>());
    }
    return out;
  }
  // An array with one number for every token.
  const Json& numbers(const std::string& name, size_t count) const {
    const Json& json = array(name);
    if (json.size() != count)
      throw Error(concat(source_, ": '", full(name), "' has ", json.size(), " entries, expected ",
                         count, ", one for every token"));
    return json;
  }
  std::vector<int64_t> integers(const std::string& name, size_t count) const {
    std::vector<int64_t> out;
    for (const Json& item : numbers(name, count))
      out.push_back(json_integer(item, full(name), source_));
    return out;
  }
  std::vector<float> floats(const std::string& name, size_t count) const {
    std::vector<float> out;
    for (const Json& item : numbers(name, count)) {
      if (!item.is_number() || std::isnan(item.get<double>()))
        throw Error(concat(source_, ": '", full(name), "' is not all numbers"));
      out.push_back(item.get<float>());
    }
    return out;
  }
  std::optional<int32_t> token_id(const std::string& name, size_t count) const {
    if (!has(name)) return std::nullopt;
    const int64_t id = json_integer(get<Json>(name), full(name), source_);
    if (id < 0 || id >= static_cast<int64_t>(count))
      throw Error(
          concat(source_, ": '", full(name), "' is ", id, ", outside the vocabulary of ", count));
    return static_cast<int32_t>(id);
  }
  const std::string& source() const { return source_; }

 private:
  static std::string full(const std::string& name) { return "tokenizer.ggml." + name; }
  const Json& keys_;
  const std::string& source_;
};

AddedTokens special_tokens(const std::vector<std::string>& tokens,
                           const std::vector<int64_t>& types) {
  std::vector<AddedToken> added;
  for (size_t id = 0; id < tokens.size(); ++id) {
    const int64_t type = types[id];
    if (type != kUnknown && type != kControl && type != kUserDefined) continue;
    AddedToken token;
    token.id = static_cast<int32_t>(id);
    token.content = tokens[id];
    token.special = type != kUserDefined;
    added.push_back(std::move(token));
  }
  return AddedTokens(std::move(added), [](const std::string& text) { return text; });
}

// How the models of a `pre` type cut text, and what else it implies.
struct PreType {
  std::vector<std::string> patterns;  // applied one after the other, matches isolated
  bool digits_first = false;          // every digit by itself, before the patterns
  bool ignore_merges = false;
  bool add_bos = false;
  bool nfc = false;  // the models' own tokenizer normalises, so we do (llama.cpp does not)
};

PreType pre_type(const std::string& name, const std::string& source) {
  // The contractions and words of Llama 3 and Qwen 2, which differ in the length of numbers.
  const auto words = [](const std::string& numbers) {
    return R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" + numbers +
           R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  };
  PreType type;
  if (name == "gpt-2") {
    type.patterns = {kGpt2Pattern};
  } else if (name == "smollm") {
    type.patterns = {kGpt2Pattern};
    type.digits_first = true;
  } else if (name == "llama-bpe" || name == "llama3" || name == "llama-v3") {
    type.patterns = {words(R"(\p{N}{1,3})")};
    type.ignore_merges = true;
    type.add_bos = true;
  } else if (name == "qwen2" || name == "deepseek-r1-qwen") {
    type.patterns = {words(R"(\p{N})")};
    type.nfc = true;
  } else {
    throw Error(concat(source, ": tokenizer.ggml.pre '", excerpt(name),
                       "' is not supported; supported: gpt-2, smollm, llama-bpe (llama3, llama-v3),"
                       " qwen2 (deepseek-r1-qwen)"));
  }
  return type;
}

PreTokenizer make_pre_tokenizer(const PreType& type, const std::string& source) {
  Json steps = Json::array();
  if (type.digits_first) steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
  for (const std::string& pattern : type.patterns)
    steps.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}});
  steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}});
  return PreTokenizer({{"type", "Sequence"}, {"pretokenizers", steps}}, source);
}

BpeModel::Merges read_merges(const Keys& keys) {
  BpeModel::Merges merges;
  for (const std::string& merge : keys.strings("merges")) {
    const size_t space = merge.find(' ', 1);  // a part is never empty
    if (space == merge.npos)
      throw Error(concat(keys.source(), ": merge ", merges.size(), " has no space between parts"));
    merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  return merges;
}

// BOS and EOS, and which of them go around a text: as the keys say, or by default.
struct SpecialIds {
  std::optional<int32_t> bos, eos;
  std::vector<int32_t> prefix, suffix;  // around a text
};

SpecialIds special_ids(const Keys& keys, size_t count, bool add_bos) {
  SpecialIds ids;
  ids.bos = keys.token_id("bos_token_id", count);
  ids.eos = keys.token_id("eos_token_id", count);
  if (keys.get_or<bool>("add_bos_token", add_bos) && ids.bos) ids.prefix.push_back(*ids.bos);
  if (keys.get_or<bool>("add_eos_token", false) && ids.eos) ids.suffix.push_back(*ids.eos);
  return ids;
}

std::unique_ptr<Tokenizer> make_bpe(const Keys& keys) {
  if (!keys.has("pre"))
    throw Error(concat(keys.source(),
                       ": the key 'tokenizer.ggml.pre' is missing, so how the model cuts text is "
                       "unknown; convert the model again with a present converter"));
  const PreType type = pre_type(keys.get<std::string>("pre"), keys.source());
  std::vector<std::string> tokens = keys.strings("tokens");
  const size_t count = tokens.size();
  const SpecialIds special = special_ids(keys, count, type.add_bos);
  AddedTokens added = special_tokens(tokens, keys.integers("token_type", count));
  BpeOptions options;
  options.ignore_merges = type.ignore_merges;
  auto tokenizer = std::make_unique<BpeTokenizer>(BpeTokenizer::Parts{
      std::move(added), type.nfc ? Normalizer::nfc() : Normalizer(),
      make_pre_tokenizer(type, keys.source()),
      BpeModel(Vocabulary(std::move(tokens)), read_merges(keys), options, keys.source()),
      TokenDecoder::byte_level(), special.prefix, special.suffix});
  tokenizer->bos_id = special.bos;
  tokenizer->eos_id = special.eos;
  return tokenizer;
}

std::unique_ptr<Tokenizer> make_spm(const Keys& keys) {
  std::vector<std::string> tokens = keys.strings("tokens");
  const size_t count = tokens.size();
  const SpecialIds special = special_ids(keys, count, true);
  SpmTokenizer::Parts parts;
  parts.scores = keys.floats("scores", count);
  parts.added_tokens = special_tokens(tokens, keys.integers("token_type", count));
  parts.unknown = keys.token_id("unknown_token_id", count);
  parts.add_space_prefix = keys.get_or<bool>("add_space_prefix", true);
  parts.prefix = special.prefix;
  parts.suffix = special.suffix;
  parts.vocabulary = Vocabulary(std::move(tokens));
  auto tokenizer = std::make_unique<SpmTokenizer>(std::move(parts));
  tokenizer->bos_id = special.bos;
  tokenizer->eos_id = special.eos;
  return tokenizer;
}

}  // namespace

std::unique_ptr<Tokenizer> make_gguf_tokenizer(const Json& json, const std::string& source) {
  const Keys keys(json, source);
  if (!keys.has("model"))
    throw Error(source + ": the file has no vocabulary (key 'tokenizer.ggml.model')");
  const auto model = keys.get<std::string>("model");
  std::unique_ptr<Tokenizer> tokenizer;
  if (model == "gpt2")
    tokenizer = make_bpe(keys);
  else if (model == "llama")
    tokenizer = make_spm(keys);
  else
    throw Error(concat(source, ": tokenizer.ggml.model '", excerpt(model),
                       "' is not supported; supported: gpt2 (byte-level BPE), llama (SentencePiece "
                       "BPE)"));
  tokenizer->chat_template = json_get_or<std::string>(json, "tokenizer.chat_template", "", source);
  return tokenizer;
}

}  // namespace bitsmith
