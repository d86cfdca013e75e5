#include "tokenizer/tokenizer_json.h"

#include <cmath>

#include "base/json.h"
#include "tokenizer/bpe_model.h"
#include "tokenizer/json_integer.h"
#include "tokenizer/pipeline_tokenizer.h"
#include "tokenizer/unigram_model.h"

namespace bitsmith {
namespace {

// A member that may be missing; the tokenizer's arrays and objects are too large to copy.
const Json& member(const Json& json, const char* key) {
  static const Json null;
  const auto it = json.find(key);
  return it == json.end() ? null : *it;
}

Vocabulary read_vocabulary(const Json& json, const std::string& source) {
  if (!json.is_object()) throw Error(source + ": the BPE model has no 'vocab' object");
  std::vector<std::pair<std::string, int64_t>> entries;
  entries.reserve(json.size());
  for (const auto& [token, id] : json.items()) {
    entries.emplace_back(token, json_integer(id, token, source));
  }
  return Vocabulary::from_entries(std::move(entries), source);
}

// Both spellings: "a b" and ["a", "b"].
BpeModel::Merges read_merges(const Json& json, const std::string& source) {
  if (!json.is_array()) throw Error(source + ": the BPE model has no 'merges' array");
  BpeModel::Merges merges;
  merges.reserve(json.size());
  for (const Json& merge : json) {
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      const size_t space = text.find(' ');
      if (space != text.npos && text.find(' ', space + 1) == text.npos) {
        merges.emplace_back(text.substr(0, space), text.substr(space + 1));
        continue;
      }
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    throw Error(concat(source, ": merge ", merges.size(),
                       " is neither \"a b\" nor [\"a\", \"b\"]: ", json_excerpt(merge)));
  }
  return merges;
}

// Texts that are no pieces of a word: those of the special ones among the tokenizer's added tokens.
std::unordered_set<std::string> read_special(const Json& added, const std::string& source) {
  std::unordered_set<std::string> special;
  if (added.is_array())
    for (const Json& token : added)
      if (token.is_object() && json_get_or<bool>(token, "special", false, source))
        special.insert(json_get<std::string>(token, "content", source));
  return special;
}

std::unique_ptr<TokenModel> read_bpe(const Json& json, const Json& added,
                                     const std::string& source) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!json_get_or<std::string>(json, key, "", source).empty())
      throw Error(concat(source, ": a BPE model with '", key, "' is not supported"));
  Vocabulary vocabulary = read_vocabulary(member(json, "vocab"), source);
  BpeOptions options;
  options.fuse_unknown = json_get_or<bool>(json, "fuse_unk", false, source);
  options.byte_fallback = json_get_or<bool>(json, "byte_fallback", false, source);
  options.ignore_merges = json_get_or<bool>(json, "ignore_merges", false, source);
  const auto unknown = json_get_or<std::string>(json, "unk_token", "", source);
  if (!unknown.empty()) {
    options.unknown = vocabulary.find(unknown);
    if (!options.unknown)
      throw Error(concat(source, ": unk_token '", excerpt(unknown), "' is not in the vocabulary"));
  }
  options.special = read_special(added, source);
  return std::make_unique<BpeModel>(std::move(vocabulary),
                                    read_merges(member(json, "merges"), source), std::move(options),
                                    source);
}

std::unique_ptr<TokenModel> read_unigram(const Json& json, const Json& added,
                                         const std::string& source) {
  UnigramModel::Parts parts;
  const Json& vocab = member(json, "vocab");
  if (!vocab.is_array() || vocab.empty())
    throw Error(source + ": the Unigram model has no 'vocab' array");
  for (const Json& entry : vocab) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
      throw Error(concat(source, ": entry ", parts.tokens.size(),
                         " of the vocabulary is not [token, score]: ", json_excerpt(entry)));
    parts.tokens.push_back(entry[0].get<std::string>());
    parts.scores.push_back(entry[1].get<double>());
    if (!std::isfinite(parts.scores.back()))
      throw Error(concat(source, ": the score of entry ", parts.tokens.size() - 1,
                         " of the vocabulary is not finite"));
  }
  if (member(json, "unk_id").is_null())
    throw Error(source + ": a Unigram model without 'unk_id' is not supported");
  const int64_t unknown = json_integer(member(json, "unk_id"), "unk_id", source);
  if (unknown < 0 || unknown >= static_cast<int64_t>(parts.tokens.size()))
    throw Error(concat(source, ": 'unk_id' is ", unknown, ", outside the vocabulary of ",
                       parts.tokens.size()));
  parts.unknown = static_cast<int32_t>(unknown);
  parts.byte_fallback = json_get_or<bool>(json, "byte_fallback", false, source);
  parts.special = read_special(added, source);
  return std::make_unique<UnigramModel>(std::move(parts));
}

std::unique_ptr<TokenModel> read_model(const Json& json, const Json& added,
                                       const std::string& source) {
  // Files from before the models had names have a BPE's vocab and merges and no type.
  const auto type = json_get_or<std::string>(json, "type", "BPE", source);
  if (type == "BPE") return read_bpe(json, added, source);
  if (type == "Unigram") return read_unigram(json, added, source);
  throw Error(concat(source, ": the tokenizer model '", excerpt(type),
                     "' is not supported; supported: BPE, Unigram (and SentencePiece's "
                     "tokenizer.model)"));
}

AddedTokens read_added_tokens(const Json& json, const Vocabulary& vocabulary,
                              const Normalizer& normalizer, const std::string& source) {
  if (!json.is_null() && !json.is_array()) throw Error(source + ": 'added_tokens' is not an array");
  std::vector<AddedToken> tokens;
  const int64_t limit = max_token_id(vocabulary.size() + json.size());
  for (const Json& entry : json) {
    AddedToken token;
    token.content = json_get<std::string>(entry, "content", source);
    const int64_t id = json_integer(json_get<Json>(entry, "id", source), "id", source);
    if (id < 0 || id > limit)
      throw Error(concat(source, ": the id ", id, " of added token '", excerpt(token.content),
                         "' is out of range"));
    token.id = vocabulary.find(token.content).value_or(static_cast<int32_t>(id));
    token.special = json_get_or<bool>(entry, "special", false, source);
    token.single_word = json_get_or<bool>(entry, "single_word", false, source);
    token.lstrip = json_get_or<bool>(entry, "lstrip", false, source);
    token.rstrip = json_get_or<bool>(entry, "rstrip", false, source);
    token.normalized = json_get_or<bool>(entry, "normalized", !token.special, source);
    tokens.push_back(std::move(token));
  }
  return AddedTokens(std::move(tokens),
                     [&](const std::string& text) { return normalizer.apply(text); });
}

// Reads what a post-processor puts around a single text. `prefix` and `suffix` grow outwards.
void read_post_processor(const Json& json, int32_t vocab_size, const std::string& source,
                         std::vector<int32_t>& prefix, std::vector<int32_t>& suffix) {
  if (json.is_null()) return;
  const auto type = json_get<std::string>(json, "type", source);
  if (type == "ByteLevel") return;  // changes offsets only
  if (type == "Sequence") {
    for (const Json& processor : json_get<Json>(json, "processors", source))
      read_post_processor(processor, vocab_size, source, prefix, suffix);
    return;
  }
  if (type != "TemplateProcessing")
    throw Error(concat(source, ": post-processor '", excerpt(type),
                       "' is not supported; supported: TemplateProcessing, ByteLevel, Sequence"));
  std::vector<int32_t> before, after;
  bool seen_text = false;
  const auto special_tokens = json_get<Json>(json, "special_tokens", source);
  for (const Json& item : json_get<Json>(json, "single", source)) {
    if (item.is_object() && item.contains("Sequence")) {
      if (seen_text) throw Error(source + ": TemplateProcessing has the text twice");
      seen_text = true;
      continue;
    }
    const auto name =
        json_get<std::string>(json_get<Json>(item, "SpecialToken", source), "id", source);
    const auto special = json_get<Json>(special_tokens, name, source);
    for (const Json& item_id : json_get<Json>(special, "ids", source)) {
      const int64_t id = json_integer(item_id, "ids", source);
      if (id < 0 || id >= vocab_size)
        throw Error(concat(source, ": TemplateProcessing's token '", excerpt(name), "' has the id ",
                           id, ", outside the vocabulary of ", vocab_size));
      (seen_text ? after : before).push_back(static_cast<int32_t>(id));
    }
  }
  if (!seen_text) throw Error(source + ": TemplateProcessing leaves the text out");
  prefix.insert(prefix.begin(), before.begin(), before.end());
  suffix.insert(suffix.end(), after.begin(), after.end());
}

}  // namespace

std::unique_ptr<Tokenizer> parse_tokenizer_json(std::string_view text, const std::string& source) {
  const Json json = parse_json(text, source);
  if (!json.is_object() || !json.contains("model"))
    throw Error(source + ": not a tokenizer.json: it has no 'model'");
  auto model = read_model(json["model"], member(json, "added_tokens"), source);
  Normalizer normalizer(member(json, "normalizer"), source);
  AddedTokens added =
      read_added_tokens(member(json, "added_tokens"), model->vocabulary(), normalizer, source);
  PipelineTokenizer::Parts parts{std::move(added),
                                 std::move(normalizer),
                                 PreTokenizer(member(json, "pre_tokenizer"), source),
                                 std::move(model),
                                 TokenDecoder(member(json, "decoder"), source),
                                 {},
                                 {}};
  const int32_t vocab_size =
      std::max(parts.model->vocabulary().size(), parts.added_tokens.largest_id() + 1);
  read_post_processor(member(json, "post_processor"), vocab_size, source + ": post_processor",
                      parts.prefix, parts.suffix);
  return std::make_unique<PipelineTokenizer>(std::move(parts));
}

}  // namespace bitsmith
