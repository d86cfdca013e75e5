// bitsmith run MODEL: one prompt, or a chat in the terminal.
#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <memory>
#include <optional>

#include "apps/command.h"
#include "base/error.h"
#include "base/log.h"
#include "runtime/text_session.h"

namespace bitsmith {
namespace {

struct RunCommand {
  CommonOptions common;
  std::string model, system;
  std::vector<std::string> template_vars;  // NAME=JSON
  std::optional<std::string> prompt;
  bool raw = false;
  int64_t max_tokens = 512, context = 0;
  std::optional<double> temperature;
  SamplingOptions sampling;

  void run();

 private:
  void answer_once(TextSession& session, Sampler& sampler);
  void chat(TextSession& session, Sampler& sampler);
  void new_conversation();
  // Of `request_`; without a template its last message is continued.
  TextResult answer(TextSession& session, Sampler& sampler);

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

// Lines of stdin by read(2), so that Ctrl-C is seen at once.
class LineReader {
 public:
  enum class Event { kLine, kInterrupt, kEnd };
  Event next(std::string& line) {
    for (;;) {
      if (const size_t end = pending_.find('\n'); end != std::string::npos) {
        line = pending_.substr(0, end);
        pending_.erase(0, end + 1);
        return Event::kLine;
      }
      char buffer[4096];
      const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof(buffer));
      if (n > 0) {
        pending_.append(buffer, static_cast<size_t>(n));
      } else if (n < 0 && errno == EINTR) {
        if (interrupt_flag().raised()) return Event::kInterrupt;
      } else if (!pending_.empty()) {  // the last line may lack its end
        line = std::exchange(pending_, {});
        return Event::kLine;
      } else {
        return Event::kEnd;
      }
    }
  }

 private:
  std::string pending_;
};

std::string speed_line(const GenerateResult& r) {
  char text[160];
  std::snprintf(text, sizeof(text), "[prompt %lld tokens, %.1f/s; answer %zu tokens, %.1f/s%s]",
                static_cast<long long>(r.prompt_tokens), r.prompt_tokens_per_second(),
                r.tokens.size(), r.tokens_per_second(),
                r.stop_reason == StopReason::kMaxTokens ? "; stopped by --max-tokens" : "");
  return text;
}

void say_if_full(const TextSession& session, const GenerateResult& result, const char* way_out) {
  if (result.stop_reason == StopReason::kContextFull)
    log_warning(concat("the context of ", session.context(), " tokens is full: ", way_out));
}

void RunCommand::run() {
  if (common.json && !prompt) throw UsageError("--json needs a prompt: give one with -p");
  if (raw && !system.empty()) throw UsageError("--system has no place in --raw text");
  if (raw && !template_vars.empty()) throw UsageError("--template-var has no place in --raw text");
  for (const std::string& variable : template_vars)
    set_template_variable(variable, request_.variables);
  sampling.temperature = temperature.value_or(prompt ? 0.0 : 0.7);
  Sampler sampler(sampling, common.seed);
  TextSession session(model, run_context(common), context);
  if (!raw && !session.can_chat()) {
    log_warning(concat(session.no_chat_reason(), "; continuing the text as it is"));
    if (!system.empty()) throw Error("--system needs a model with a chat template");
    if (!template_vars.empty()) throw Error("--template-var needs a model with a chat template");
    raw = true;
  }
  new_conversation();
  if (prompt) {
    answer_once(session, sampler);
  } else {
    chat(session, sampler);
  }
}

void RunCommand::new_conversation() {
  request_.messages = OrderedJson::array();
  if (!system.empty()) request_.messages.push_back(chat_message("system", system));
}

// Streams to stdout unless JSON is wanted.
TextResult RunCommand::answer(TextSession& session, Sampler& sampler) {
  const auto stream = [&](const std::string& text) {
    if (!common.json) print(text);
  };
  const auto last = [&] { return request_.messages.back().at("content").get<std::string>(); };
  TextResult result = raw ? session.complete(last(), sampler, max_tokens, stream)
                          : session.chat(request_, sampler, max_tokens, stream);
  stream("\n");
  return result;
}

void RunCommand::answer_once(TextSession& session, Sampler& sampler) {
  request_.messages.push_back(chat_message("user", *prompt));
  const TextResult result = answer(session, sampler);
  const GenerateResult& generated = result.generated;
  say_if_full(session, generated, "a larger --context leaves more room");
  if (common.json) {
    OrderedJson json = {{"text", result.text},
                        {"tokens", generated.tokens.size()},
                        {"tokens_per_second", generated.tokens_per_second()},
                        {"prompt_tokens", generated.prompt_tokens},
                        {"prompt_tokens_per_second", generated.prompt_tokens_per_second()},
                        {"stop_reason", stop_reason_name(generated.stop_reason)}};
    print_result(common, json, "");
  }
  log_info(speed_line(generated));
  if (generated.stop_reason == StopReason::kStopped)
    throw Interrupted("the answer was stopped; the same command answers anew");
}

void RunCommand::chat(TextSession& session, Sampler& sampler) {
  log_info(concat(raw ? "Each line is continued as plain text." : "Chat with the model.",
                  " Ctrl-C stops an answer, /reset forgets the conversation, /exit or Ctrl-D "
                  "leaves. Context: ",
                  session.context(), " tokens."));
  const bool terminal = isatty(STDIN_FILENO);
  LineReader reader;
  bool interrupted_before = false;
  for (std::string line;;) {
    if (terminal) std::fputs("> ", stderr);
    interrupt_flag().clear();
    const LineReader::Event event = reader.next(line);
    if (event == LineReader::Event::kEnd) break;
    if (event == LineReader::Event::kInterrupt) {  // also SIGTERM: the second one ends it
      if (interrupted_before) break;
      interrupted_before = true;
      std::fputs("\n(once more to leave)\n", stderr);
      continue;
    }
    interrupted_before = false;
    if (line == "/exit" || line == "/quit") break;
    if (line == "/reset") {
      new_conversation();
      log_info("The conversation is forgotten.");
      continue;
    }
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    request_.messages.push_back(chat_message("user", line));
    try {
      const TextResult result = answer(session, sampler);
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
  if (terminal) std::fputs("\n", stderr);
}

}  // namespace

void add_run(CLI::App& app) {
  const auto run = std::make_shared<RunCommand>();
  CLI::App* command = app.add_subcommand("run", "Answers a prompt, or chats");
  add_common_options(*command, run->common);
  command->add_option("MODEL", run->model, "Model directory or GGUF file")->required();
  command->add_option("-p,--prompt", run->prompt, "One prompt; without it a chat begins");
  command->add_flag("--raw,--no-chat", run->raw,
                    "Continue the text as it is, without the chat template");
  command->add_option("--system", run->system, "System message (default: the template's own)");
  command
      ->add_option("--template-var", run->template_vars,
                   "What the chat template asks for, as enable_thinking=false or "
                   "'reasoning_effort=\"high\"'; may repeat")
      ->type_name("NAME=JSON")
      ->allow_extra_args(false);
  command->add_option("--max-tokens", run->max_tokens, "Longest answer")
      ->check(count_from(1))
      ->capture_default_str();
  command->add_option(
      "--temperature", run->temperature,
      "Randomness; 0 takes the likeliest token (default: 0 with -p, 0.7 in a chat)");
  command->add_option("--top-k", run->sampling.top_k, "Only the K likeliest tokens; 0: all")
      ->capture_default_str();
  command
      ->add_option("--top-p", run->sampling.top_p,
                   "Only the likeliest tokens that reach this probability together; 1: all")
      ->capture_default_str();
  command
      ->add_option("--min-p", run->sampling.min_p,
                   "Only tokens at least this many times as likely as the likeliest; 0: all")
      ->capture_default_str();
  command
      ->add_option("--repeat-penalty", run->sampling.repetition_penalty,
                   "Above 1 makes tokens of the text so far less likely")
      ->capture_default_str();
  command
      ->add_option("--context", run->context,
                   concat("Tokens of prompt and answer together (default: the model's, at most ",
                          TextSession::kDefaultContext, ")"))
      ->check(CLI::Range(1, 1 << 30));
  command->callback([run] { run->run(); });
}

}  // namespace bitsmith
