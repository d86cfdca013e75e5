#include "tokenizer/gguf_vocabulary.h"

#include <cmath>
#include <unordered_map>
#include <unordered_set>

#include "base/base64.h"
#include "tokenizer/pipeline_tokenizer.h"
#include "tokenizer/scored_pairs_tokenizer.h"
#include "tokenizer/unigram_model.h"

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
  std::string known;
  for (const std::string& other : gguf_pre_tokenizer_names())
    known += (known.empty() ? "" : ", ") + other;
  throw Error(concat(keys.source(), ": tokenizer.ggml.pre '", excerpt(name),
                     "' is not supported; supported: ", known));
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

void read_unigram_keys(const Keys& keys, GgufVocabulary& vocabulary) {
  constexpr uint64_t kMaxCharsmap = 16 << 20;
  vocabulary.remove_extra_whitespaces = keys.get_or<bool>("remove_extra_whitespaces", false);
  if (!keys.has("precompiled_charsmap")) return;
  keys.array("precompiled_charsmap", kMaxCharsmap)
      .each_integer(keys.named("precompiled_charsmap"),
                    [&](int64_t byte) { vocabulary.charsmap += static_cast<char>(byte); });
}

AddedTokens recognized(std::vector<AddedToken> tokens) {
  return AddedTokens(std::move(tokens), [](const std::string& text) { return text; });
}

using Texts = std::unordered_set<std::string>;

Texts special_texts(const std::vector<AddedToken>& tokens) {
  Texts texts;
  for (const AddedToken& token : tokens)
    if (token.special) texts.insert(token.content);
  return texts;
}

std::unique_ptr<TokenModel> make_bpe(GgufVocabulary& from, Texts special) {
  BpeOptions options;
  options.ignore_merges = from.pre->ignore_merges;
  options.special = std::move(special);
  return std::make_unique<BpeModel>(Vocabulary(std::move(from.tokens)), from.merges,
                                    std::move(options), from.source);
}

std::unique_ptr<TokenModel> make_unigram(GgufVocabulary& from, Texts special) {
  UnigramModel::Parts parts;
  parts.scores.assign(from.scores.begin(), from.scores.end());
  parts.unknown = *from.unknown;
  parts.byte_fallback = from.has_all_bytes();
  parts.special = std::move(special);
  parts.tokens = std::move(from.tokens);
  return std::make_unique<UnigramModel>(std::move(parts));
}

std::unique_ptr<Tokenizer> make_pipeline(GgufVocabulary& from, std::vector<int32_t> prefix,
                                         std::vector<int32_t> suffix) {
  std::vector<AddedToken> added = from.added_tokens();
  Texts special = special_texts(added);
  Normalizer normalizer(from.normalizer(), from.source);
  PreTokenizer pre_tokenizer(from.pre_tokenizer(), from.source);
  TokenDecoder decoder(from.decoder(), from.source);
  const auto make = from.model == GgufVocabulary::Model::kUnigram ? make_unigram : make_bpe;
  return std::make_unique<PipelineTokenizer>(PipelineTokenizer::Parts{
      recognized(std::move(added)), std::move(normalizer), std::move(pre_tokenizer),
      make(from, std::move(special)), std::move(decoder), std::move(prefix), std::move(suffix)});
}

std::unique_ptr<Tokenizer> make_scored_pairs(GgufVocabulary& from, std::vector<int32_t> prefix,
                                             std::vector<int32_t> suffix) {
  ScoredPairsTokenizer::Parts parts;
  parts.added_tokens = recognized(from.added_tokens());
  parts.scores = std::move(from.scores);
  for (const uint8_t type : from.types) parts.mergeable.push_back(type == GgufVocabulary::kNormal);
  parts.unknown = from.unknown;
  parts.add_space_prefix = from.add_space_prefix;
  parts.prefix = std::move(prefix);
  parts.suffix = std::move(suffix);
  parts.vocabulary = Vocabulary(std::move(from.tokens));
  return std::make_unique<ScoredPairsTokenizer>(std::move(parts));
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

bool GgufVocabulary::has_all_bytes() const {
  const std::unordered_set<std::string_view> texts(tokens.begin(), tokens.end());
  for (int byte = 0; byte < 256; ++byte)
    if (!texts.contains(byte_token(static_cast<unsigned char>(byte)))) return false;
  return true;
}

Json GgufVocabulary::normalizer() const {
  if (model == Model::kBytePairs) return pre->normalizer();
  const std::string mark(kSpaceMark);
  Json steps = Json::array();
  const auto replace = [&](const char* kind, const char* pattern, const std::string& content) {
    steps.push_back({{"type", "Replace"}, {"pattern", {{kind, pattern}}}, {"content", content}});
  };
  if (!charsmap.empty())
    steps.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", encode_base64(charsmap)}});
  if (remove_extra_whitespaces) {
    replace("Regex", R"(\A +|(?<! ) ++\z)", "");
    replace("Regex", " {2,}", " ");
  }
  if (add_space_prefix) steps.push_back({{"type", "Prepend"}, {"prepend", mark}});
  replace("String", " ", mark);
  return {{"type", "Sequence"}, {"normalizers", steps}};
}

Json GgufVocabulary::pre_tokenizer() const {
  return model == Model::kBytePairs ? pre->pre_tokenizer() : Json();
}

Json GgufVocabulary::decoder() const {
  if (model == Model::kBytePairs)
    return {{"type", "ByteLevel"},
            {"add_prefix_space", false},
            {"trim_offsets", true},
            {"use_regex", true}};
  const std::string mark(kSpaceMark);
  Json steps = Json::array();
  steps.push_back({{"type", "Replace"}, {"pattern", {{"String", mark}}}, {"content", " "}});
  steps.push_back({{"type", "ByteFallback"}});
  steps.push_back({{"type", "Fuse"}});
  if (add_space_prefix)
    steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return {{"type", "Sequence"}, {"decoders", steps}};
}

bool has_vocabulary(const GgufFile& gguf) { return gguf.keys.contains("tokenizer.ggml.model"); }

GgufVocabulary read_gguf_vocabulary(const GgufFile& gguf, const std::string& source) {
  const Keys keys(gguf, source);
  if (!has_vocabulary(gguf))
    throw Error(source + ": the file has no vocabulary (key 'tokenizer.ggml.model')");
  const auto model = keys.get<std::string>("model");
  using Model = GgufVocabulary::Model;
  const bool byte_level = model == "gpt2", unigram = model == "t5";
  if (!byte_level && !unigram && model != "llama")
    throw Error(concat(source, ": tokenizer.ggml.model '", excerpt(model),
                       "' is not supported; supported: gpt2 (byte-level BPE), llama (SentencePiece "
                       "BPE), t5 (SentencePiece unigram)"));
  GgufVocabulary vocabulary;
  vocabulary.source = source;
  vocabulary.model = byte_level ? Model::kBytePairs
                     : unigram  ? Model::kUnigram
                                : Model::kScoredPairs;
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
      if (std::isnan(score) || (unigram && !std::isfinite(score)))
        throw Error(keys.named("scores") + " is not all numbers");
      vocabulary.scores.push_back(static_cast<float>(score));
    });
    vocabulary.add_space_prefix = keys.get_or<bool>("add_space_prefix", !unigram);
  }
  if (unigram) read_unigram_keys(keys, vocabulary);
  vocabulary.bos = keys.token_id("bos_token_id", count);
  vocabulary.eos = keys.token_id("eos_token_id", count);
  vocabulary.unknown = keys.token_id("unknown_token_id", count);
  // Some converters write a number outside the vocabulary for "none".
  if (const auto padding = keys.get_or<int64_t>("padding_token_id", -1);
      padding >= 0 && padding < static_cast<int64_t>(count))
    vocabulary.padding = static_cast<int32_t>(padding);
  if (unigram && !vocabulary.unknown)
    throw Error(source + ": the key 'tokenizer.ggml.unknown_token_id' is missing");
  const bool add_bos = byte_level ? vocabulary.pre->add_bos : !unigram;
  vocabulary.add_bos = keys.get_or<bool>("add_bos_token", add_bos) && vocabulary.bos;
  vocabulary.add_eos = keys.get_or<bool>("add_eos_token", unigram) && vocabulary.eos;
  vocabulary.chat_template =
      json_get_or<std::string>(gguf.keys, "tokenizer.chat_template", "", source);
  vocabulary.tool_use_template =
      json_get_or<std::string>(gguf.keys, "tokenizer.chat_template.tool_use", "", source);
  return vocabulary;
}

std::map<std::string, std::string> GgufVocabulary::named_tokens() const {
  std::map<std::string, std::string> named;
  const auto name = [&](const char* role, std::optional<int32_t> id) {
    if (id) named[role] = tokens[static_cast<size_t>(*id)];
  };
  name("bos_token", bos);
  name("eos_token", eos);
  name("unk_token", unknown);
  name("pad_token", padding);
  return named;
}

std::unique_ptr<Tokenizer> make_gguf_tokenizer(GgufVocabulary vocabulary) {
  std::vector<int32_t> prefix, suffix;
  if (vocabulary.add_bos) prefix.push_back(*vocabulary.bos);
  if (vocabulary.add_eos) suffix.push_back(*vocabulary.eos);
  const auto make =
      vocabulary.model == GgufVocabulary::Model::kScoredPairs ? make_scored_pairs : make_pipeline;
  auto named_tokens = vocabulary.named_tokens();
  auto tokenizer = make(vocabulary, std::move(prefix), std::move(suffix));
  tokenizer->bos_id = vocabulary.bos;
  tokenizer->eos_id = vocabulary.eos;
  tokenizer->chat_template = vocabulary.chat_template;
  tokenizer->tool_use_template = vocabulary.tool_use_template;
  tokenizer->named_tokens = std::move(named_tokens);
  return tokenizer;
}

}  // namespace bitsmith
