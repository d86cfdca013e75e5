#include "tokenizer/gguf_vocabulary.h"

#include <cmath>
#include <unordered_map>

#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/spm_tokenizer.h"

namespace bitsmith {
namespace {

// Memory is many times the bytes of the file; the largest vocabularies have 2^18 tokens.
constexpr uint64_t kMaxTokens = 1 << 20, kMaxMerges = 1 << 22;

// The keys of the vocabulary, checked for type and size.
class Keys {
 public:
  Keys(const GgufFile& gguf, const std::string& source) : gguf_(gguf), source_(source) {}

  bool has(const std::string& name) const { return gguf_.keys.contains(full(name)); }
  template <typename T>
  T get(const std::string& name) const {
    return json_get<T>(gguf_.keys, full(name), source_);
  }
  template <typename T>
  T get_or(const std::string& name, T fallback) const {
    return json_get_or<T>(gguf_.keys, full(name), fallback, source_);
  }
  const GgufArray& array(const std::string& name, uint64_t limit) const {
    const auto found = gguf_.arrays.find(full(name));
    if (found == gguf_.arrays.end())
      throw Error(concat(source_, ": the array '", full(name), "' is missing"));
    if (found->second.size() > limit)
      throw Error(concat(source_, ": '", full(name), "' has ", found->second.size(),
                         " entries; at most ", limit, " are read"));
    return found->second;
  }
  // An array with one entry for every token.
  const GgufArray& of_tokens(const std::string& name, size_t count) const {
    const GgufArray& found = array(name, kMaxTokens);
    if (found.size() != count)
      throw Error(concat(source_, ": '", full(name), "' has ", found.size(), " entries, expected ",
                         count, ", one for every token"));
    return found;
  }
  // Names an array for its messages.
  std::string named(const std::string& name) const {
    return concat(source_, ": '", full(name), "'");
  }
  std::optional<int32_t> token_id(const std::string& name, size_t count) const {
    if (!has(name)) return std::nullopt;
    const auto id = get<int64_t>(name);
    if (id < 0 || id >= static_cast<int64_t>(count))
      throw Error(
          concat(source_, ": '", full(name), "' is ", id, ", outside the vocabulary of ", count));
    return static_cast<int32_t>(id);
  }
  const std::string& source() const { return source_; }

 private:
  static std::string full(const std::string& name) { return "tokenizer.ggml." + name; }
  const GgufFile& gguf_;
  const std::string& source_;
};

const GgufPreTokenizer& pre_tokenizer_of(const Keys& keys) {
  if (!keys.has("pre"))
    throw Error(concat(keys.source(),
                       ": the key 'tokenizer.ggml.pre' is missing, so how the model cuts text is "
                       "unknown; convert the model again with a present converter"));
  const auto name = keys.get<std::string>("pre");
  if (const GgufPreTokenizer* found = find_gguf_pre_tokenizer(name)) return *found;
  throw Error(concat(keys.source(), ": tokenizer.ggml.pre '", excerpt(name),
                     "' is not supported; supported: ", gguf_pre_tokenizer_names()));
}

BpeModel::Merges read_gguf_merges(const Keys& keys) {
  BpeModel::Merges merges;
  keys.array("merges", kMaxMerges).each_string(keys.named("merges"), [&](std::string_view merge) {
    const size_t space = merge.find(' ', 1);  // a part is never empty
    if (space == merge.npos)
      throw Error(concat(keys.source(), ": merge ", merges.size(), " has no space between parts"));
    merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  });
  return merges;
}

AddedTokens recognized(const GgufVocabulary& vocabulary) {
  return AddedTokens(vocabulary.added_tokens(), [](const std::string& text) { return text; });
}

std::unique_ptr<Tokenizer> make_bpe(GgufVocabulary& from, std::vector<int32_t> prefix,
                                    std::vector<int32_t> suffix) {
  BpeOptions options;
  options.ignore_merges = from.pre->ignore_merges;
  AddedTokens added = recognized(from);
  return std::make_unique<BpeTokenizer>(BpeTokenizer::Parts{
      std::move(added), Normalizer(from.pre->normalizer(), from.source),
      PreTokenizer(from.pre->pre_tokenizer(), from.source),
      BpeModel(Vocabulary(std::move(from.tokens)), from.merges, options, from.source),
      TokenDecoder::byte_level(), std::move(prefix), std::move(suffix)});
}

std::unique_ptr<Tokenizer> make_spm(GgufVocabulary& from, std::vector<int32_t> prefix,
                                    std::vector<int32_t> suffix) {
  SpmTokenizer::Parts parts;
  parts.added_tokens = recognized(from);
  parts.scores = std::move(from.scores);
  for (const uint8_t type : from.types) parts.mergeable.push_back(type == GgufVocabulary::kNormal);
  parts.unknown = from.unknown;
  parts.add_space_prefix = from.add_space_prefix;
  parts.prefix = std::move(prefix);
  parts.suffix = std::move(suffix);
  parts.vocabulary = Vocabulary(std::move(from.tokens));
  return std::make_unique<SpmTokenizer>(std::move(parts));
}

}  // namespace

std::vector<AddedToken> GgufVocabulary::added_tokens() const {
  std::unordered_map<std::string_view, size_t> last;
  for (size_t id = 0; id < tokens.size(); ++id) last[tokens[id]] = id;
  std::vector<AddedToken> added;
  for (size_t id = 0; id < tokens.size(); ++id) {
    const bool special = types[id] == kUnknown || types[id] == kControl;
    if ((!special && types[id] != kUserDefined) || tokens[id].empty()) continue;
    if (last[tokens[id]] != id) continue;
    AddedToken token;
    token.id = static_cast<int32_t>(id);
    token.content = tokens[id];
    token.special = special;
    added.push_back(std::move(token));
  }
  return added;
}

bool has_vocabulary(const GgufFile& gguf) { return gguf.keys.contains("tokenizer.ggml.model"); }

GgufVocabulary read_gguf_vocabulary(const GgufFile& gguf, const std::string& source) {
  const Keys keys(gguf, source);
  if (!has_vocabulary(gguf))
    throw Error(source + ": the file has no vocabulary (key 'tokenizer.ggml.model')");
  const auto model = keys.get<std::string>("model");
  const bool byte_level = model == "gpt2";
  if (!byte_level && model != "llama")
    throw Error(concat(source, ": tokenizer.ggml.model '", excerpt(model),
                       "' is not supported; supported: gpt2 (byte-level BPE), llama (SentencePiece "
                       "BPE)"));
  GgufVocabulary vocabulary;
  vocabulary.source = source;
  if (byte_level) vocabulary.pre = &pre_tokenizer_of(keys);
  keys.array("tokens", kMaxTokens).each_string(keys.named("tokens"), [&](std::string_view token) {
    vocabulary.tokens.emplace_back(token);
  });
  const size_t count = vocabulary.tokens.size();
  keys.of_tokens("token_type", count).each_integer(keys.named("token_type"), [&](int64_t type) {
    vocabulary.types.push_back(type >= 0 && type <= 255 ? static_cast<uint8_t>(type) : 0);
  });
  if (byte_level) {
    vocabulary.merges = read_gguf_merges(keys);
  } else {
    keys.of_tokens("scores", count).each_number(keys.named("scores"), [&](double score) {
      if (std::isnan(score)) throw Error(keys.named("scores") + " is not all numbers");
      vocabulary.scores.push_back(static_cast<float>(score));
    });
    vocabulary.add_space_prefix = keys.get_or<bool>("add_space_prefix", true);
  }
  vocabulary.bos = keys.token_id("bos_token_id", count);
  vocabulary.eos = keys.token_id("eos_token_id", count);
  vocabulary.unknown = keys.token_id("unknown_token_id", count);
  // Some converters write a number outside the vocabulary for "none".
  if (const auto padding = keys.get_or<int64_t>("padding_token_id", -1);
      padding >= 0 && padding < static_cast<int64_t>(count))
    vocabulary.padding = static_cast<int32_t>(padding);
  const bool add_bos = byte_level ? vocabulary.pre->add_bos : true;
  vocabulary.add_bos = keys.get_or<bool>("add_bos_token", add_bos) && vocabulary.bos;
  vocabulary.add_eos = keys.get_or<bool>("add_eos_token", false) && vocabulary.eos;
  vocabulary.chat_template =
      json_get_or<std::string>(gguf.keys, "tokenizer.chat_template", "", source);
  return vocabulary;
}

std::unique_ptr<Tokenizer> make_gguf_tokenizer(GgufVocabulary vocabulary) {
  std::vector<int32_t> prefix, suffix;
  if (vocabulary.add_bos) prefix.push_back(*vocabulary.bos);
  if (vocabulary.add_eos) suffix.push_back(*vocabulary.eos);
  const auto make = vocabulary.pre != nullptr ? make_bpe : make_spm;
  auto tokenizer = make(vocabulary, std::move(prefix), std::move(suffix));
  tokenizer->bos_id = vocabulary.bos;
  tokenizer->eos_id = vocabulary.eos;
  tokenizer->chat_template = vocabulary.chat_template;
  return tokenizer;
}

}  // namespace bitsmith
