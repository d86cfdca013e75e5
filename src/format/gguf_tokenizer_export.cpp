#include "format/gguf_tokenizer_export.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "checkpoint/gguf.h"

namespace bitsmith {
namespace {

// tokenizer.ggml.token_type (llama.cpp's llama_token_type).
enum TokenType : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kByte = 6 };

constexpr const char* kMetaspace = "\u2581";  // SentencePiece's visible space

// What `pre` stands for (llama.cpp's llama-vocab.cpp; the same as the models' own tokenizer.json).
struct PreTokenizer {
  const char* name;
  bool digits;         // every digit alone, then GPT-2's expression
  const char* regex;   // instead of GPT-2's; null: GPT-2's
  bool ignore_merges;  // a word that is a token is taken whole
  bool add_bos;        // where the file does not say
};
constexpr PreTokenizer kPreTokenizers[] = {
    {"gpt-2", false, nullptr, false, false},
    {"smollm", true, nullptr, false, false},
    {"llama-bpe", false,
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     true, true},
    {"qwen2", false,
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     false, false},
};

// The vocabulary's keys, checked.
struct Vocabulary {
  std::string source;
  std::string model;  // "gpt2", "llama"
  std::vector<std::string> tokens;
  std::vector<int64_t> types;
  std::unordered_map<std::string, int64_t> ids;

  int64_t type(size_t id) const { return types.empty() ? kNormal : types[id]; }
};

std::string key(const char* name) { return concat("tokenizer.ggml.", name); }

Vocabulary read_vocabulary(const Json& keys, const std::string& source) {
  Vocabulary vocabulary;
  vocabulary.source = source;
  vocabulary.model = json_get<std::string>(keys, key("model"), source);
  vocabulary.tokens = json_get<std::vector<std::string>>(keys, key("tokens"), source);
  vocabulary.types = json_get_or<std::vector<int64_t>>(keys, key("token_type"), {}, source);
  if (!vocabulary.types.empty() && vocabulary.types.size() != vocabulary.tokens.size()) {
    throw Error(concat(source, ": ", vocabulary.tokens.size(), " tokens, but ",
                       vocabulary.types.size(), " token types"));
  }
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    vocabulary.ids.emplace(vocabulary.tokens[id], static_cast<int64_t>(id));
  }
  return vocabulary;
}

// The token that a key such as bos_token_id names.
std::optional<std::string> named_token(const Json& keys, const Vocabulary& vocabulary,
                                       const char* name) {
  const auto id = json_get_or<int64_t>(keys, key(name), -1, vocabulary.source);
  if (id < 0 || id >= static_cast<int64_t>(vocabulary.tokens.size())) return std::nullopt;
  return vocabulary.tokens[static_cast<size_t>(id)];
}

const PreTokenizer& pre_tokenizer_of(const Json& keys, const std::string& source) {
  const auto pre = json_get_or<std::string>(keys, key("pre"), "(none)", source);
  for (const PreTokenizer& known : kPreTokenizers) {
    if (pre == known.name) return known;
  }
  throw Error(concat(source, ": the pre-tokenizer '", excerpt(pre),
                     "' is not supported; supported are gpt-2, smollm, llama-bpe and qwen2"));
}

Json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json pre_tokenizer_json(const PreTokenizer& pre) {
  if (pre.regex) {
    const Json split = {{"type", "Split"},
                        {"pattern", {{"Regex", pre.regex}}},
                        {"behavior", "Isolated"},
                        {"invert", false}};
    return {{"type", "Sequence"}, {"pretokenizers", {split, byte_level(false)}}};
  }
  if (!pre.digits) return byte_level(true);
  const Json digits = {{"type", "Digits"}, {"individual_digits", true}};
  return {{"type", "Sequence"}, {"pretokenizers", {digits, byte_level(true)}}};
}

Json added_tokens(const Vocabulary& vocabulary) {
  Json added = Json::array();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const int64_t type = vocabulary.type(id);
    const bool special = type == kControl || type == kUnknown;
    if (!special && type != kUserDefined) continue;
    added.push_back({{"id", id},
                     {"content", vocabulary.tokens[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", special}});
  }
  return added;
}

// What is put around a text: the begin and end tokens that the file asks for.
Json post_processor(const Json& keys, const Vocabulary& vocabulary, bool add_bos_default) {
  Json single = Json::array(), pair = Json::array(), special = Json::object();
  const auto add = [&](const char* flag, bool fallback, const char* id_key, const char* sequence) {
    const bool asked = json_get_or<bool>(keys, key(flag), fallback, vocabulary.source);
    const auto token = named_token(keys, vocabulary, id_key);
    if (!asked || !token) return;
    special[*token] = {{"id", *token}, {"ids", {vocabulary.ids.at(*token)}}, {"tokens", {*token}}};
    const bool second = sequence[0] == 'B';
    const Json piece = {{"SpecialToken", {{"id", *token}, {"type_id", second ? 1 : 0}}}};
    if (!second) single.push_back(piece);
    pair.push_back(piece);
  };
  for (const char* sequence : {"A", "B"}) {
    add("add_bos_token", add_bos_default, "bos_token_id", sequence);
    const Json text = {{"Sequence", {{"id", sequence}, {"type_id", sequence[0] == 'B' ? 1 : 0}}}};
    if (sequence[0] == 'A') single.push_back(text);
    pair.push_back(text);
    add("add_eos_token", false, "eos_token_id", sequence);
  }
  if (special.empty()) return nullptr;
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", special}};
}

Json bpe_model(const Vocabulary& vocabulary, Json merges) {
  Json ids = Json::object();
  for (const auto& [token, id] : vocabulary.ids) ids[token] = id;
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", false},
          {"vocab", std::move(ids)},
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

// SentencePiece joins the neighbours whose union has the highest score; BPE's merges are that order
// written down: every way to make a token from two others, best token first (as transformers'
// converter for slow tokenizers has it). Between equal scores SentencePiece takes the leftmost
// pair, which an order of merges cannot say, except for runs of one character (Llama's runs of
// spaces all have one score): there the pair with the longest left part is the leftmost one.
Json sentencepiece_merges(const Json& keys, const Vocabulary& vocabulary) {
  const std::string& source = vocabulary.source;
  const auto scores = json_get<std::vector<double>>(keys, key("scores"), source);
  if (scores.size() != vocabulary.tokens.size()) {
    throw Error(
        concat(source, ": ", vocabulary.tokens.size(), " tokens, but ", scores.size(), " scores"));
  }
  struct Merge {
    double score;
    size_t token, left_bytes;
  };
  std::vector<Merge> merges;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string& token = vocabulary.tokens[id];
    if (vocabulary.type(id) != kNormal || token.empty()) continue;
    size_t at = 0;
    for (const size_t length : characters(token)) {
      at += length;
      if (at < token.size() && vocabulary.ids.contains(token.substr(0, at)) &&
          vocabulary.ids.contains(token.substr(at))) {
        merges.push_back({scores[id], id, at});
      }
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
        throw Error(concat(source, ": the tokens '", excerpt(other), "' and '", excerpt(token),
                           "' have the same score, which a tokenizer.json cannot say; give a ",
                           "Hugging Face directory of this model instead"));
      }
    }
    result.push_back({token.substr(0, merges[i].left_bytes), token.substr(merges[i].left_bytes)});
  }
  return result;
}

Json sentencepiece_json(const Json& keys, const Vocabulary& vocabulary) {
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.type(id) == kUserDefined &&
        vocabulary.tokens[id].find(kMetaspace) != std::string::npos) {
      throw Error(concat(vocabulary.source, ": the user-defined token '",
                         excerpt(vocabulary.tokens[id]),
                         "' holds a space, which a tokenizer.json cannot say; give a Hugging Face ",
                         "directory of this model instead"));
    }
  }
  Json model = bpe_model(vocabulary, sentencepiece_merges(keys, vocabulary));
  if (const auto unknown = named_token(keys, vocabulary, "unknown_token_id")) {
    model["unk_token"] = *unknown;
  }
  model["fuse_unk"] = true;
  model["byte_fallback"] = vocabulary.ids.contains("<0x00>");

  const bool prefix = json_get_or<bool>(keys, key("add_space_prefix"), true, vocabulary.source);
  Json normalizers = Json::array(), decoders = Json::array();
  if (prefix) normalizers.push_back({{"type", "Prepend"}, {"prepend", kMetaspace}});
  normalizers.push_back(
      {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kMetaspace}});
  decoders.push_back(
      {{"type", "Replace"}, {"pattern", {{"String", kMetaspace}}}, {"content", " "}});
  decoders.push_back({{"type", "ByteFallback"}});
  decoders.push_back({{"type", "Fuse"}});
  if (prefix) {
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return {{"normalizer", {{"type", "Sequence"}, {"normalizers", normalizers}}},
          {"pre_tokenizer", nullptr},
          {"post_processor", post_processor(keys, vocabulary, true)},
          {"decoder", {{"type", "Sequence"}, {"decoders", decoders}}},
          {"model", std::move(model)}};
}

Json byte_level_json(const Json& keys, const Vocabulary& vocabulary) {
  const PreTokenizer& pre = pre_tokenizer_of(keys, vocabulary.source);
  Json model = bpe_model(
      vocabulary, json_get<std::vector<std::string>>(keys, key("merges"), vocabulary.source));
  model["ignore_merges"] = pre.ignore_merges;
  return {{"normalizer", nullptr},
          {"pre_tokenizer", pre_tokenizer_json(pre)},
          {"post_processor", post_processor(keys, vocabulary, pre.add_bos)},
          {"decoder", byte_level(true)},
          {"model", std::move(model)}};
}

}  // namespace

Json gguf_tokenizer_json(const Json& keys, const std::string& source) {
  const Vocabulary vocabulary = read_vocabulary(keys, source);
  Json tokenizer;
  if (vocabulary.model == "gpt2") {
    tokenizer = byte_level_json(keys, vocabulary);
  } else if (vocabulary.model == "llama") {
    tokenizer = sentencepiece_json(keys, vocabulary);
  } else {
    throw Error(concat(source, ": the tokenizer model '", excerpt(vocabulary.model),
                       "' is not supported; supported are gpt2 and llama"));
  }
  tokenizer["version"] = "1.0";
  tokenizer["truncation"] = nullptr;
  tokenizer["padding"] = nullptr;
  tokenizer["added_tokens"] = added_tokens(vocabulary);
  return tokenizer;
}

OrderedJson gguf_tokenizer_config(const Json& keys, const std::string& source) {
  const Vocabulary vocabulary = read_vocabulary(keys, source);
  // The general class: those of single models rebuild parts of tokenizer.json by rules of their
  // own.
  OrderedJson config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                        {"clean_up_tokenization_spaces", false}};
  constexpr std::pair<const char*, const char*> kRoles[] = {{"bos_token", "bos_token_id"},
                                                            {"eos_token", "eos_token_id"},
                                                            {"unk_token", "unknown_token_id"},
                                                            {"pad_token", "padding_token_id"}};
  for (const auto& [role, id_key] : kRoles) {
    if (const auto token = named_token(keys, vocabulary, id_key)) config[role] = *token;
  }
  const auto chat = json_get_or<std::string>(keys, "tokenizer.chat_template", "", source);
  if (!chat.empty()) config["chat_template"] = chat;
  return config;
}

OrderedJson gguf_generation_config(const Json& keys, const ModelConfig& config,
                                   const std::string& source) {
  const Vocabulary vocabulary = read_vocabulary(keys, source);
  std::vector<int64_t> ends = config.eos_token_ids;
  for (const char* name : {"<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>"}) {
    const auto found = vocabulary.ids.find(name);
    if (found == vocabulary.ids.end()) continue;
    if (std::find(ends.begin(), ends.end(), found->second) == ends.end()) {
      ends.push_back(found->second);
    }
  }
  OrderedJson generation = OrderedJson::object();
  if (config.bos_token_id >= 0) generation["bos_token_id"] = config.bos_token_id;
  if (!ends.empty()) generation["eos_token_id"] = ends;
  return generation;
}

void export_gguf_tokenizer(const std::filesystem::path& gguf, const ModelConfig& config,
                           const std::filesystem::path& folder) {
  const Json keys = open_gguf(gguf).keys;
  const std::string source = gguf.string();
  if (!keys.contains(key("model"))) {
    log_warning(source + " holds no vocabulary, so the result has no tokenizer files");
    return;
  }
  try {
    write_file_atomic(folder / "tokenizer.json", gguf_tokenizer_json(keys, source).dump() + "\n");
    write_json_file(folder / "tokenizer_config.json", gguf_tokenizer_config(keys, source));
  } catch (const nlohmann::json::exception&) {
    throw Error(source + ": the vocabulary or the chat template holds invalid UTF-8");
  }
  write_json_file(folder / "generation_config.json", gguf_generation_config(keys, config, source));
}

}  // namespace bitsmith
