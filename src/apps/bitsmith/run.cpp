// bitsmith run MODEL: one prompt, or a chat in the terminal.
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <iterator>
#include <memory>
#include <optional>

#include "apps/bitsmith/chat_input.h"
#include "apps/bitsmith/commands.h"
#include "apps/cli_options.h"
#include "apps/command.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "runtime/text_session.h"

namespace bitsmith {
namespace {

struct RunCommand {
  CommonOptions common;
  std::string model, system;
  std::vector<std::string> template_vars;  // NAME=JSON
  std::optional<std::string> prompt;
  std::string file, json_schema;
  bool raw = false;
  ContextOptions context;
  std::optional<double> temperature;
  AnswerOptions options;

  void run();

 private:
  // Of -p and -f; nothing: a chat begins.
  std::optional<std::string> question() const;
  void answer_once(TextSession& session, const std::string& question);
  void chat(TextSession& session);
  // False: the chat is over.
  bool obey(const std::string& command);
  void answer_message(TextSession& session, const std::string& message);
  void new_conversation();
  // Of `request_`; without a template its last message is continued.
  TextResult answer(TextSession& session);

  ChatRequest request_;
};

// --template-var NAME=JSON.
void set_template_variable(const std::string& text, OrderedJson& variables) {
  const size_t equals = text.find('=');
  const std::string name = text.substr(0, equals);
  const auto is_name_character = [](unsigned char c) { return std::isalnum(c) || c == '_'; };
  if (equals == text.npos || name.empty() || !std::ranges::all_of(name, is_name_character))
    throw UsageError(concat("--template-var ", excerpt(text),
                            ": expected NAME=JSON, for example "
                            "enable_thinking=false"));
  if (name == "messages" || name == "add_generation_prompt")
    throw UsageError(
        concat("--template-var ", name, ": the chat itself gives this to the template"));
  const std::string value = text.substr(equals + 1);
  if (!OrderedJson::accept(value))
    throw UsageError(concat("--template-var ", name, ": ", excerpt(value),
                            " is not JSON; a string needs quotation marks: '", name, "=\"...\"'"));
  variables[name] = parse_ordered_json(value, "--template-var " + name);
}

// --json-schema FILE.
std::shared_ptr<const JsonForm> read_form(const std::string& file) {
  const OrderedJson schema = parse_foreign_json(read_text_file(file), file);
  try {
    return compile_json_schema(schema);
  } catch (const JsonSchemaError& error) {
    throw Error(concat(file, ": ", error.what()));
  }
}

std::string speed_line(const RequestResult& r) {
  char text[160];
  std::snprintf(text, sizeof(text), "[prompt %lld tokens, %.1f/s; answer %zu tokens, %.1f/s%s]",
                static_cast<long long>(r.prompt_tokens), r.prompt_tokens_per_second(),
                r.tokens.size(), r.tokens_per_second(),
                r.reason == FinishReason::kMaxTokens ? "; stopped by --max-tokens" : "");
  return text;
}

void say_if_full(const TextSession& session, const RequestResult& result, const char* way_out) {
  if (result.reason == FinishReason::kContextFull)
    log_warning(concat("the context of ", session.context(), " tokens is full: ", way_out));
}

std::string read_input(const std::string& file) {
  if (file != "-") return read_text_file(file);
  std::string text, chunk(64 << 10, '\0');
  while (const size_t count = std::fread(chunk.data(), 1, chunk.size(), stdin))
    text.append(chunk, 0, count);
  return text;
}

constexpr const char* kHelp =
    "/help            this list\n"
    "/reset           forgets the conversation\n"
    "/system [TEXT]   forgets the conversation and begins it with this system message; without\n"
    "                 TEXT it shows the present one\n"
    "/exit            leaves, as Ctrl-D does\n"
    "Ctrl-C stops an answer. A line that ends with \\ goes on in the next one; so does a text "
    "that\n"
    "begins with \"\"\", until \"\"\" ends it.";

std::optional<std::string> RunCommand::question() const {
  if (file.empty()) return prompt;
  const std::string text = read_input(file);
  return prompt ? *prompt + "\n\n" + text : text;
}

void RunCommand::run() {
  if (common.json && !prompt && file.empty())
    throw UsageError("--json needs a prompt: give one with -p or -f");
  if (raw && !system.empty()) throw UsageError("--system has no place in --raw text");
  if (raw && !template_vars.empty()) throw UsageError("--template-var has no place in --raw text");
  for (const std::string& variable : template_vars)
    set_template_variable(variable, request_.variables);
  const std::optional<std::string> asked = question();
  options.sampling.temperature = temperature.value_or(asked ? 0.0 : 0.7);
  check(options.sampling);
  if (!json_schema.empty()) options.form = read_form(json_schema);
  TextSession session(model, run_context(common), context);
  if (!raw && !session.can_chat()) {
    log_warning(concat(session.no_chat_reason(), "; continuing the text as it is"));
    if (!system.empty()) throw Error("--system needs a model with a chat template");
    if (!template_vars.empty()) throw Error("--template-var needs a model with a chat template");
    raw = true;
  }
  new_conversation();
  if (asked) {
    answer_once(session, *asked);
  } else {
    chat(session);
  }
}

void RunCommand::new_conversation() {
  request_.messages = OrderedJson::array();
  if (!system.empty()) request_.messages.push_back(chat_message("system", system));
}

// Streams to stdout unless JSON is wanted.
TextResult RunCommand::answer(TextSession& session) {
  const auto stream = [&](const std::string& text) {
    if (!common.json) print(text);
  };
  const auto last = [&] { return request_.messages.back().at("content").get<std::string>(); };
  TextResult result =
      raw ? session.complete(last(), options, stream) : session.chat(request_, options, stream);
  ++options.stream;  // the next answer draws other numbers
  stream("\n");
  return result;
}

void RunCommand::answer_once(TextSession& session, const std::string& question) {
  request_.messages.push_back(chat_message("user", question));
  const TextResult result = answer(session);
  const RequestResult& generated = result.generated;
  say_if_full(session, generated, "a larger --context leaves more room");
  if (common.json) {
    OrderedJson json = {{"text", result.text},
                        {"tokens", generated.tokens.size()},
                        {"tokens_per_second", generated.tokens_per_second()},
                        {"prompt_tokens", generated.prompt_tokens},
                        {"prompt_tokens_per_second", generated.prompt_tokens_per_second()},
                        {"finish_reason", finish_reason_name(generated.reason)}};
    print_result(common, json, "");
  }
  log_info(speed_line(generated));
  if (generated.reason == FinishReason::kCancelled)
    throw Interrupted("the answer was stopped; the same command answers anew");
}

void RunCommand::chat(TextSession& session) {
  log_info(concat(raw ? "Each message is continued as plain text." : "Chat with the model.",
                  " Ctrl-C stops an answer, /help lists commands, Ctrl-D leaves. Context: ",
                  session.context(), " tokens."));
  const auto lines = make_line_reader();
  ChatInput input(*lines);
  bool interrupted_before = false;
  for (std::string text;;) {
    interrupt_flag().clear();
    const ChatInput::Event event = input.next(text);
    if (event == ChatInput::Event::kEnd) break;
    if (event == ChatInput::Event::kInterrupt) {  // also SIGTERM: the second one ends it
      if (interrupted_before) break;
      interrupted_before = true;
      std::fputs("\n(once more to leave)\n", stderr);
      continue;
    }
    interrupted_before = false;
    if (event == ChatInput::Event::kMessage)
      answer_message(session, text);
    else if (!obey(text))
      break;
  }
  if (isatty(STDIN_FILENO)) std::fputs("\n", stderr);
}

bool RunCommand::obey(const std::string& command) {
  const size_t space = command.find(' ');
  const std::string name = command.substr(0, space);
  const std::string argument = space == command.npos ? "" : command.substr(space + 1);
  if (name == "/exit" || name == "/quit") return false;
  if (name == "/help") {
    log_info(kHelp);
  } else if (name == "/reset") {
    new_conversation();
    log_info("The conversation is forgotten.");
  } else if (name == "/system" && raw) {
    log_warning("plain text has no system message");
  } else if (name == "/system" && argument.empty()) {
    log_info(system.empty() ? "There is no system message." : system);
  } else if (name == "/system") {
    system = argument;
    new_conversation();
    log_info("The conversation begins anew with this system message.");
  } else {
    log_warning(concat("there is no command ", excerpt(name), "; /help lists them"));
  }
  return true;
}

void RunCommand::answer_message(TextSession& session, const std::string& message) {
  request_.messages.push_back(chat_message("user", message));
  try {
    const TextResult result = answer(session);
    log_info(speed_line(result.generated));
    say_if_full(session, result.generated, "/reset starts anew, --context N gives more room");
    request_.messages.push_back(chat_message("assistant", result.text));
  } catch (const OutputError&) {
    throw;
  } catch (const Error& error) {  // too long for the context, or refused by the template
    log_warning(concat(error.what(), "; /reset forgets the conversation"));
    request_.messages.erase(request_.messages.size() - 1);
  }
}

}  // namespace

void add_run(CLI::App& app) {
  const auto run = std::make_shared<RunCommand>();
  CLI::App* command = app.add_subcommand("run", "Answers a prompt, or chats");
  add_common_options(*command, run->common);
  command->add_option("MODEL", run->model, "Model directory, GGUF file or packed model")
      ->required();
  command->add_option("-p,--prompt", run->prompt, "One prompt; without it a chat begins");
  command->add_option("-f,--file", run->file,
                      "Prompt from a file, - for standard input; with -p it follows that text");
  command->add_flag("--raw,--no-chat", run->raw,
                    "Continue the text as it is, without the chat template");
  command->add_option("--system", run->system, "System message (default: the template's own)");
  command
      ->add_option("--template-var", run->template_vars,
                   "What the chat template asks for, as enable_thinking=false or "
                   "'reasoning_effort=\"high\"'; may repeat")
      ->type_name("NAME=JSON")
      ->allow_extra_args(false);
  command
      ->add_option(
          "--json-schema", run->json_schema,
          "Answers are JSON that fits the schema in this file; {\"type\": \"object\"} is any "
          "object")
      ->type_name("FILE");
  command->add_option("--max-tokens", run->options.max_tokens, "Longest answer")
      ->check(count_from(1))
      ->capture_default_str();
  command->add_option(
      "--temperature", run->temperature,
      "Randomness; 0 takes the likeliest token (default: 0 with -p, 0.7 in a chat)");
  command->add_option("--top-k", run->options.sampling.top_k, "Only the K likeliest tokens; 0: all")
      ->capture_default_str();
  command
      ->add_option("--top-p", run->options.sampling.top_p,
                   "Only the likeliest tokens that reach this probability together; 1: all")
      ->capture_default_str();
  command
      ->add_option("--min-p", run->options.sampling.min_p,
                   "Only tokens at least this many times as likely as the likeliest; 0: all")
      ->capture_default_str();
  command
      ->add_option("--repetition-penalty", run->options.sampling.repetition_penalty,
                   "Above 1 makes tokens of the text so far less likely")
      ->capture_default_str();
  add_options(*command, run->context);
  command->callback([run] { run->run(); });
}

}  // namespace bitsmith
