// bitsmith tokenize: text or a conversation -> token ids, and back.
#include <algorithm>
#include <charconv>
#include <memory>

#include "apps/bitsmith/commands.h"
#include "apps/command.h"
#include "base/error.h"
#include "base/files.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {
namespace {

struct TokenizeOptions {
  CommonOptions common;
  std::string model, text, file, chat, decode;
  bool no_special = false;
};

std::vector<int32_t> parse_ids(std::string_view list) {
  std::vector<int32_t> ids;
  while (!list.empty()) {
    const std::string_view item = list.substr(0, list.find(','));
    int32_t id = 0;
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), id);
    if (error != std::errc() || end != item.data() + item.size())
      throw UsageError(concat("--decode expects ids like 1,2,3, not '", item, "'"));
    ids.push_back(id);
    list.remove_prefix(std::min(list.size(), item.size() + 1));
  }
  return ids;
}

std::string join(const std::vector<int32_t>& ids) {
  std::string out;
  for (const int32_t id : ids) out += (out.empty() ? "" : " ") + std::to_string(id);
  return out;
}

// A list of messages, or an object with `messages`; what else it has, as `tools`, is the
// template's.
ChatRequest read_chat(const std::string& file) {
  OrderedJson json = parse_ordered_json(read_text_file(file), file);
  if (json.is_array()) json = {{"messages", std::move(json)}};
  const auto is_object = [](const OrderedJson& value) { return value.is_object(); };
  if (!json.is_object() || !json.contains("messages") || !json["messages"].is_array() ||
      !std::ranges::all_of(json["messages"], is_object))
    throw Error(concat(file,
                       ": expected a list of messages, each an object, or an object whose "
                       "'messages' is one"));
  ChatRequest request;
  for (const auto& [key, value] : json.items()) {
    if (key == "messages")
      request.messages = value;
    else if (key == "tools")
      request.tools = value;
    else
      request.variables[key] = value;
  }
  return request;
}

void run_chat(const TokenizeOptions& options, const Tokenizer& tokenizer) {
  const ChatTemplate chat(tokenizer);
  if (!chat.supported()) throw Error(chat.reason());
  const ChatPrompt prompt = chat.render(read_chat(options.chat));
  const std::vector<int32_t> ids = prompt.encode(tokenizer);
  print_result(options.common, {{"text", prompt.text}, {"ids", ids}},
               prompt.text + "\n" + join(ids));
}

void run(const TokenizeOptions& options, bool decode) {
  const auto tokenizer = Tokenizer::open(options.model);
  if (!options.chat.empty()) return run_chat(options, *tokenizer);
  OrderedJson json;
  if (decode) {
    const std::string text = tokenizer->decode(parse_ids(options.decode), options.no_special);
    json["text"] = text;
    print_result(options.common, json, text);
    return;
  }
  const std::string text = options.file.empty() ? options.text : read_text_file(options.file);
  const std::vector<int32_t> ids = tokenizer->encode(text, !options.no_special);
  json["ids"] = ids;
  print_result(options.common, json, join(ids));
}

}  // namespace

void add_tokenize(CLI::App& app) {
  const auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Text to token ids, and back");
  add_common_options(*command, options->common);
  command
      ->add_option("MODEL", options->model,
                   "Model or tokenizer directory, GGUF file, packed model, tokenizer.json or "
                   "tokenizer.model")
      ->required();
  CLI::Option_group* input = command->add_option_group("input");
  input->add_option("--text", options->text, "The text itself");
  input->add_option("--file", options->file, "A file with the text");
  CLI::Option* chat =
      input
          ->add_option(
              "--chat", options->chat,
              "A file with a conversation, as JSON: the model's chat template renders it; the "
              "text, then a line of ids")
          ->type_name("FILE");
  const CLI::Option* decode =
      input->add_option("--decode", options->decode, "Ids, separated by commas, to turn into text");
  input->require_option(1);
  command
      ->add_flag("--no-special", options->no_special,
                 "Add no BOS or EOS; with --decode leave control tokens out")
      ->excludes(chat);
  command->callback([options, decode] { run(*options, decode->count() > 0); });
}

}  // namespace bitsmith
