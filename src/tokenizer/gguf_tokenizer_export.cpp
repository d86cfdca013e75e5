#include "tokenizer/gguf_tokenizer_export.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "tokenizer/end_tokens.h"

namespace bitsmith {
namespace {

using Ids = std::unordered_map<std::string_view, int32_t>;

// Of equal texts the last, as Vocabulary finds them.
Ids ids_of(const GgufVocabulary& vocabulary) {
  Ids ids;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (!vocabulary.tokens[id].empty()) ids[vocabulary.tokens[id]] = static_cast<int32_t>(id);
  }
  return ids;
}

// The text of a token that a tokenizer.json names by its text.
const std::string& text_of(const GgufVocabulary& vocabulary, const Ids& ids, int32_t id) {
  const std::string& text = vocabulary.tokens[static_cast<size_t>(id)];
  const auto found = ids.find(text);
  if (found == ids.end() || found->second != id) {
    throw Error(concat(vocabulary.source, ": the special token ", id, " ('", excerpt(text),
                       "') has no text of its own, which a tokenizer.json needs"));
  }
  return text;
}

Json added_tokens(const GgufVocabulary& vocabulary) {
  Json added = Json::array();
  for (const AddedToken& token : vocabulary.added_tokens()) {
    added.push_back({{"id", token.id},
                     {"content", token.content},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", token.special}});
  }
  return added;
}

// What is put around a text: the begin and end tokens that the file asks for.
Json post_processor(const GgufVocabulary& vocabulary) {
  const Ids ids = ids_of(vocabulary);
  Json single = Json::array(), pair = Json::array(), special = Json::object();
  for (const bool second : {false, true}) {
    const auto add_token = [&](bool asked, std::optional<int32_t> id) {
      if (!asked || !id) return;
      const std::string& token = text_of(vocabulary, ids, *id);
      special[token] = {{"id", token}, {"ids", {*id}}, {"tokens", {token}}};
      const Json piece = {{"SpecialToken", {{"id", token}, {"type_id", second ? 1 : 0}}}};
      if (!second) single.push_back(piece);
      pair.push_back(piece);
    };
    add_token(vocabulary.add_bos, vocabulary.bos);
    const Json text = {{"Sequence", {{"id", second ? "B" : "A"}, {"type_id", second ? 1 : 0}}}};
    if (!second) single.push_back(text);
    pair.push_back(text);
    add_token(vocabulary.add_eos, vocabulary.eos);
  }
  if (special.empty()) return nullptr;
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", special}};
}

Json bpe_model(const Ids& ids, Json merges) {
  Json vocab = Json::object();
  for (const auto& [token, id] : ids) vocab[std::string(token)] = id;
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", false},
          {"vocab", std::move(vocab)},
          {"merges", std::move(merges)}};
}

// Byte lengths of the UTF-8 characters of a token.
std::vector<size_t> characters(const std::string& text) {
  std::vector<size_t> lengths;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xc0u) == 0x80u && !lengths.empty()) {
      ++lengths.back();
    } else {
      lengths.push_back(1);
    }
  }
  return lengths;
}

bool is_run(const std::string& token) {  // of one character
  const size_t first = characters(token).front();
  for (size_t at = 0; at < token.size(); at += first) {
    if (token.compare(at, first, token, 0, first) != 0) return false;
  }
  return true;
}

// SentencePiece joins the neighbors whose union has the highest score; BPE's merges are that order
// written down: every way to make a token from two others, best token first (as transformers'
// converter for slow tokenizers has it). Between equal scores SentencePiece takes the leftmost
// pair, which an order of merges cannot say, except for runs of one character (Llama's runs of
// spaces all have one score): there the pair with the longest left part is the leftmost one.
Json sentencepiece_merges(const GgufVocabulary& vocabulary, const Ids& ids) {
  struct Merge {
    float score;
    size_t token, left_bytes;
  };
  std::optional<std::string> unknown;  // where characters become it
  if (vocabulary.unknown && !vocabulary.has_all_bytes())
    unknown = vocabulary.tokens[static_cast<size_t>(*vocabulary.unknown)];
  std::vector<Merge> merges;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string& token = vocabulary.tokens[id];
    if (vocabulary.types[id] != GgufVocabulary::kNormal || token.empty()) continue;
    if (ids.at(token) != static_cast<int32_t>(id)) continue;
    const std::vector<size_t> lengths = characters(token);
    // SentencePiece joins characters that are no tokens, too.
    const auto can_stand = [&](const std::string& part) {
      return ids.contains(part) || characters(part).size() == 1;
    };
    size_t at = 0;
    for (const size_t length : lengths) {
      at += length;
      if (at == token.size()) break;
      const std::string left = token.substr(0, at), right = token.substr(at);
      if (!can_stand(left) || !can_stand(right)) continue;
      if (!ids.contains(left) || !ids.contains(right)) {
        throw Error(concat(vocabulary.source, ": a character of the token '", excerpt(token),
                           "' is not a token, which a tokenizer.json cannot say; give a Hugging ",
                           "Face directory of this model instead"));
      }
      // Merges join ids: an unknown character would be joined like the token whose id it has.
      if (unknown && (left == *unknown || right == *unknown)) {
        throw Error(
            concat(vocabulary.source, ": the unknown token '", excerpt(*unknown),
                   "' is a part of the token '", excerpt(token),
                   "', which a tokenizer.json cannot say; give a Hugging Face directory of ",
                   "this model instead"));
      }
      merges.push_back({vocabulary.scores[id], id, at});
    }
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    return a.score != b.score ? a.score > b.score : a.left_bytes > b.left_bytes;
  });
  Json result = Json::array();
  for (size_t i = 0; i < merges.size(); ++i) {
    const std::string& token = vocabulary.tokens[merges[i].token];
    if (i > 0 && merges[i].score == merges[i - 1].score) {
      const std::string& other = vocabulary.tokens[merges[i - 1].token];
      if (token != other && !(is_run(token) && is_run(other))) {
        throw Error(concat(vocabulary.source, ": the tokens '", excerpt(other), "' and '",
                           excerpt(token),
                           "' have the same score, which a tokenizer.json cannot say; give a ",
                           "Hugging Face directory of this model instead"));
      }
    }
    result.push_back({token.substr(0, merges[i].left_bytes), token.substr(merges[i].left_bytes)});
  }
  return result;
}

Json scored_pairs_model(const GgufVocabulary& vocabulary) {
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.types[id] == GgufVocabulary::kUserDefined &&
        vocabulary.tokens[id].find(kSpaceMark) != std::string::npos) {
      throw Error(concat(vocabulary.source, ": the user-defined token '",
                         excerpt(vocabulary.tokens[id]),
                         "' holds a space, which a tokenizer.json cannot say; give a Hugging Face ",
                         "directory of this model instead"));
    }
  }
  const Ids ids = ids_of(vocabulary);
  Json model = bpe_model(ids, sentencepiece_merges(vocabulary, ids));
  if (vocabulary.unknown) {
    model["unk_token"] = text_of(vocabulary, ids, *vocabulary.unknown);
  }
  model["fuse_unk"] = true;
  int bytes = 0;
  for (int byte = 0; byte < 256; ++byte) {
    bytes += ids.contains(byte_token(static_cast<unsigned char>(byte))) ? 1 : 0;
  }
  if (bytes != 0 && bytes != 256) {
    throw Error(concat(vocabulary.source, ": the vocabulary has ", bytes, " of the 256 tokens of ",
                       "bytes, which a tokenizer.json cannot say"));
  }
  // SentencePiece leaves an unknown character out but does not join its neighbors.
  if (bytes == 0 && !vocabulary.unknown) {
    throw Error(concat(vocabulary.source, ": the vocabulary has neither tokens of bytes nor an ",
                       "unknown token, which a tokenizer.json cannot say"));
  }
  model["byte_fallback"] = bytes == 256;

  return model;
}

Json unigram_model(const GgufVocabulary& vocabulary) {
  Json vocab = Json::array();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id)
    vocab.push_back({vocabulary.tokens[id], static_cast<double>(vocabulary.scores[id])});
  return {{"type", "Unigram"},
          {"unk_id", *vocabulary.unknown},
          {"vocab", std::move(vocab)},
          {"byte_fallback", vocabulary.has_all_bytes()}};
}

Json byte_pairs_model(const GgufVocabulary& vocabulary) {
  Json merges = Json::array();
  for (const auto& [left, right] : vocabulary.merges) {
    if (right.find(' ') != std::string::npos) {
      throw Error(concat(vocabulary.source, ": the merge '", excerpt(left), " ", excerpt(right),
                         "' holds a space: it is not of a byte-level vocabulary"));
    }
    merges.push_back(concat(left, " ", right));
  }
  Json model = bpe_model(ids_of(vocabulary), std::move(merges));
  model["ignore_merges"] = vocabulary.pre->ignore_merges;
  return model;
}

Json token_model(const GgufVocabulary& vocabulary) {
  switch (vocabulary.model) {
    case GgufVocabulary::Model::kBytePairs:
      return byte_pairs_model(vocabulary);
    case GgufVocabulary::Model::kScoredPairs:
      return scored_pairs_model(vocabulary);
    case GgufVocabulary::Model::kUnigram:
      break;
  }
  return unigram_model(vocabulary);
}

}  // namespace

Json gguf_tokenizer_json(const GgufVocabulary& vocabulary) {
  Json tokenizer;
  tokenizer["normalizer"] = vocabulary.normalizer();
  tokenizer["pre_tokenizer"] = vocabulary.pre_tokenizer();
  tokenizer["decoder"] = vocabulary.decoder();
  tokenizer["model"] = token_model(vocabulary);
  tokenizer["version"] = "1.0";
  tokenizer["truncation"] = nullptr;
  tokenizer["padding"] = nullptr;
  tokenizer["added_tokens"] = added_tokens(vocabulary);
  tokenizer["post_processor"] = post_processor(vocabulary);
  return tokenizer;
}

OrderedJson gguf_tokenizer_config(const GgufVocabulary& vocabulary) {
  // The general class: those of single models rebuild parts of tokenizer.json by rules of their
  // own.
  OrderedJson config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                        {"clean_up_tokenization_spaces", false}};
  for (const auto& [role, token] : vocabulary.named_tokens()) config[role] = token;
  if (!vocabulary.tool_use_template.empty()) {
    config["chat_template"] = {{{"name", "default"}, {"template", vocabulary.chat_template}},
                               {{"name", "tool_use"}, {"template", vocabulary.tool_use_template}}};
  } else if (!vocabulary.chat_template.empty()) {
    config["chat_template"] = vocabulary.chat_template;
  }
  return config;
}

OrderedJson gguf_generation_config(const GgufVocabulary& vocabulary, const ModelPlan& plan) {
  const Ids ids = ids_of(vocabulary);
  std::vector<int64_t> ends = plan.eos_token_ids;
  for (const char* name : kEndTokens) {
    const auto found = ids.find(name);
    if (found == ids.end()) continue;
    if (std::find(ends.begin(), ends.end(), found->second) == ends.end()) {
      ends.push_back(found->second);
    }
  }
  OrderedJson generation = OrderedJson::object();
  if (plan.bos_token_id >= 0) generation["bos_token_id"] = plan.bos_token_id;
  if (!ends.empty()) generation["eos_token_id"] = ends;
  return generation;
}

std::map<std::string, std::string> gguf_tokenizer_files(const Checkpoint& model) {
  const GgufFile& gguf = *model.gguf();
  if (!has_vocabulary(gguf)) return {};
  const GgufVocabulary vocabulary = read_gguf_vocabulary(gguf, model.path().string());
  make_gguf_tokenizer(vocabulary);  // merges and all: what cannot be read is not written
  try {
    return {{"tokenizer.json", gguf_tokenizer_json(vocabulary).dump() + "\n"},
            {"tokenizer_config.json", gguf_tokenizer_config(vocabulary).dump(2) + "\n"},
            {"generation_config.json",
             gguf_generation_config(vocabulary, model.plan()).dump(2) + "\n"}};
  } catch (const nlohmann::json::exception&) {
    throw Error(vocabulary.source + ": the vocabulary or the chat template holds invalid UTF-8");
  }
}

void check_tokenizer_export(const Checkpoint& model) {
  if (model.gguf() != nullptr) gguf_tokenizer_files(model);
}

}  // namespace bitsmith
