#include "tokenizer/tokenizer.h"

#include <algorithm>

#include "architecture/config_reader.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "checkpoint/gguf.h"
#include "checkpoint/model_texts.h"
#include "tokenizer/gguf_vocabulary.h"
#include "tokenizer/sentencepiece_tokenizer.h"
#include "tokenizer/tokenizer_json.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

Json read_json_if_there(const ModelTexts& texts, const std::string& name) {
  return texts.has(name) ? texts.read_json(name) : Json::object();
}

// A special token in tokenizer_config.json: "text", {"content": "text"} or null.
std::string token_text(const Json& config, const std::string& key, const std::string& source) {
  if (config.contains(key) && config.at(key).is_object())
    return json_get<std::string>(config.at(key), "content", source);
  return json_get_or<std::string>(config, key, "", source);
}

// The template in a file of its own wins; a list in tokenizer_config.json has named ones.
void read_chat_templates(const ModelTexts& texts, const Json& config, const std::string& source,
                         Tokenizer& tokenizer) {
  if (texts.has("chat_template.jinja")) {
    tokenizer.chat_template = texts.read("chat_template.jinja");
    return;
  }
  if (!config.contains("chat_template") || !config.at("chat_template").is_array()) {
    tokenizer.chat_template = json_get_or<std::string>(config, "chat_template", "", source);
    return;
  }
  for (const Json& entry : config.at("chat_template")) {
    const auto name = json_get<std::string>(entry, "name", source);
    const auto text = json_get<std::string>(entry, "template", source);
    if (name == "default") tokenizer.chat_template = text;
    if (name == "tool_use") tokenizer.tool_use_template = text;
  }
}

std::map<std::string, std::string> read_named_tokens(const Json& config,
                                                     const std::string& source) {
  std::map<std::string, std::string> named;
  for (const char* role : {"bos_token", "eos_token", "unk_token", "pad_token", "sep_token",
                           "cls_token", "mask_token"}) {
    if (const std::string text = token_text(config, role, source); !text.empty())
      named[role] = text;
  }
  return named;
}

// Tokens that a tokenizer_config.json adds to a SentencePiece model.
SentencePieceOptions sentencepiece_options(const Json& config, const std::string& source) {
  SentencePieceOptions options;
  options.add_bos = json_get_or<bool>(config, "add_bos_token", true, source);
  options.add_eos = json_get_or<bool>(config, "add_eos_token", false, source);
  const Json none = Json::object();
  const Json& entries =
      config.contains("added_tokens_decoder") ? config.at("added_tokens_decoder") : none;
  for (const auto& [id, entry] : entries.items()) {
    const bool is_number =
        !id.empty() && id.size() <= 7 &&
        std::all_of(id.begin(), id.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!is_number)
      throw Error(concat(source, ": 'added_tokens_decoder' has the id '", excerpt(id), "'"));
    AddedToken token;
    token.id = std::stoi(id);
    token.content = json_get<std::string>(entry, "content", source);
    token.special = json_get_or<bool>(entry, "special", false, source);
    token.lstrip = json_get_or<bool>(entry, "lstrip", false, source);
    token.rstrip = json_get_or<bool>(entry, "rstrip", false, source);
    token.single_word = json_get_or<bool>(entry, "single_word", false, source);
    options.added_tokens.push_back(std::move(token));
  }
  return options;
}

// The model's own end token, the first where config.json lists several; a tokenizer that names none
// falls back on it.
std::optional<int32_t> model_eos_id(const ModelTexts& texts, int32_t vocab_size) {
  const Json config = read_json_if_there(texts, "config.json");
  if (!config.is_object()) return {};
  for (const int64_t id : token_ids(config, "eos_token_id", texts.described("config.json")))
    if (id >= 0 && id < vocab_size) return static_cast<int32_t>(id);
  return {};
}

std::unique_ptr<Tokenizer> open_texts(const ModelTexts& texts) {
  const std::string source = texts.described("tokenizer_config.json");
  const Json config = read_json_if_there(texts, "tokenizer_config.json");
  if (!config.is_object()) throw Error(source + ": not a JSON object");
  std::unique_ptr<Tokenizer> tokenizer;
  if (const char* name = "tokenizer.json"; texts.has(name))
    tokenizer = parse_tokenizer_json(texts.read(name), texts.described(name));
  else if (const char* name = "tokenizer.model"; texts.has(name))
    tokenizer = make_sentencepiece_tokenizer(
        texts.read(name), sentencepiece_options(config, source), texts.described(name));
  else
    throw Error(texts.described("") + ": no tokenizer.json and no tokenizer.model here");
  if (const auto id = tokenizer->token_id(token_text(config, "bos_token", source)))
    tokenizer->bos_id = id;
  if (const auto id = tokenizer->token_id(token_text(config, "eos_token", source)))
    tokenizer->eos_id = id;
  if (!tokenizer->eos_id) tokenizer->eos_id = model_eos_id(texts, tokenizer->vocab_size());
  read_chat_templates(texts, config, source, *tokenizer);
  tokenizer->named_tokens = read_named_tokens(config, source);
  return tokenizer;
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::open(const fs::path& model) {
  if (!fs::exists(model)) throw Error(concat(model.string(), ": no such file or directory"));
  if (fs::is_directory(model)) return open_texts(ModelTexts(model));
  if (PackedFile::recognizes(model)) return open_texts(ModelTexts(PackedFile::open(model)));
  // A file: what it is shows in its first bytes.
  const auto file = MappedFile::open(model);
  const std::string_view bytes(reinterpret_cast<const char*>(file->bytes().data()),
                               file->bytes().size());
  if (bytes.starts_with("GGUF"))
    return make_gguf_tokenizer(read_gguf_vocabulary(open_gguf(model), model.string()));
  const size_t first = bytes.find_first_not_of(" \t\r\n");
  if (first != bytes.npos && bytes[first] == '{')
    return parse_tokenizer_json(bytes, model.string());
  return make_sentencepiece_tokenizer(bytes, {}, model.string());
}

int32_t Tokenizer::document_separator() const {
  if (const auto id = token_id("<|endoftext|>")) return *id;
  if (eos_id) return *eos_id;
  throw Error("the tokenizer names no end-of-text token, so documents cannot be joined");
}

std::optional<int32_t> Tokenizer::added_bos() const {
  const std::vector<int32_t> added = encode("", /*add_special=*/true);
  return bos_id && !added.empty() && added[0] == *bos_id ? bos_id : std::nullopt;
}

}  // namespace bitsmith
