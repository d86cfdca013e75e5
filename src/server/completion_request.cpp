#include "server/completion_request.h"

#include <utility>

#include "server/http.h"

namespace bitsmith {
namespace {

constexpr int64_t kMost = int64_t{1} << 31;

// What this server has in one form only: other values are refused rather than passed over.
void refuse_other(JsonFields& fields, const std::string& key, int64_t only, const char* reason) {
  const OrderedJson* value = fields.any(key);
  if (value && json_integer(*value, only, only) != only)
    throw HttpError::invalid_field(fields.name(key), concat("must be ", only, ": ", reason));
}

void read_stop(JsonFields& fields, CompletionOptions& options) {
  const OrderedJson* stop = fields.any("stop");
  if (!stop) return;
  const auto add = [&](const OrderedJson& text, const std::string& name) {
    if (!text.is_string() || text.get_ref<const std::string&>().empty())
      throw HttpError::invalid_field(name, concat("must be a string of at least one character, "
                                                  "but is ",
                                                  text.is_string() ? "empty" : json_kind(text)));
    options.stop.push_back(text.get<std::string>());
  };
  if (stop->is_string()) return add(*stop, "stop");
  if (!stop->is_array() || stop->size() > CompletionOptions::kMostStops)
    throw HttpError::invalid_field("stop", concat("must be a string or an array of at most ",
                                                  CompletionOptions::kMostStops, " strings"));
  for (size_t i = 0; i < stop->size(); ++i) add((*stop)[i], concat("stop[", i, "]"));
}

void read_stream(JsonFields& fields, CompletionOptions& options) {
  options.stream = fields.boolean("stream").value_or(false);
  const OrderedJson* more = fields.object("stream_options");
  if (!more) return;
  if (!options.stream) throw HttpError::invalid_field("stream_options", "goes with 'stream': true");
  JsonFields stream(*more, "stream_options.");
  options.include_usage = stream.boolean("include_usage").value_or(false);
  stream.finish();
}

void read_sampling(JsonFields& fields, SamplingOptions& sampling) {
  sampling.temperature = fields.number("temperature", 0, 2).value_or(1);
  if (const auto top_p = fields.number("top_p", 0, 1)) {
    if (*top_p == 0) throw HttpError::invalid_field("top_p", "must be above 0");
    sampling.top_p = *top_p;
  }
  sampling.top_k = fields.integer("top_k", 0, kMost).value_or(0);
  sampling.min_p = fields.number("min_p", 0, 1).value_or(0);
  sampling.repetition_penalty = fields.number("repetition_penalty", 0.01, 100).value_or(1);
}

void read_response_format(JsonFields& fields, CompletionOptions& options) {
  const OrderedJson* format = fields.object("response_format");
  if (!format) return;
  JsonFields inner(*format, "response_format.");
  const std::string type = inner.string("type").value_or("");
  if (type != "text" && type != "json_object" && type != "json_schema")
    throw HttpError::invalid_field(inner.name("type"),
                                   "must be \"text\", \"json_object\" or \"json_schema\"");
  const OrderedJson* given = inner.object("json_schema");
  inner.finish();
  if ((given != nullptr) != (type == "json_schema"))
    throw HttpError::invalid_field(inner.name("json_schema"), "goes with the type \"json_schema\"");
  if (type == "json_object") options.form = any_json_object();
  if (!given) return;
  JsonFields named(*given, "response_format.json_schema.");
  for (const char* key : {"name", "description"}) named.string(key);
  named.boolean("strict");
  const OrderedJson* schema = named.any("schema");
  named.finish();
  if (!schema) throw HttpError::invalid_field(named.name("schema"), "is missing");
  try {
    options.form = compile_json_schema(*schema);
  } catch (const JsonSchemaError& error) {
    throw HttpError({.param = named.name("schema")}, error.what());
  }
}

// What both requests have, and what says nothing about the text.
void read_common(JsonFields& fields, CompletionOptions& options) {
  options.model = fields.string("model").value_or("");
  read_sampling(fields, options.sampling);
  if (const auto seed = fields.integer("seed", INT64_MIN, INT64_MAX))
    options.seed = static_cast<uint64_t>(*seed);
  options.max_tokens = fields.integer("max_tokens", 0, kMost);
  read_stop(fields, options);
  read_response_format(fields, options);
  options.ignore_eos = fields.boolean("ignore_eos").value_or(false);
  read_stream(fields, options);
  refuse_other(fields, "n", 1, "one answer a request; send the request again for another");
  refuse_other(fields, "presence_penalty", 0, "use 'repetition_penalty'");
  refuse_other(fields, "frequency_penalty", 0, "use 'repetition_penalty'");
  if (const OrderedJson* bias = fields.object("logit_bias"); bias && !bias->empty())
    throw HttpError::invalid_field("logit_bias", "must be empty: tokens cannot be weighted here");
  for (const char* key : {"user", "metadata", "store", "service_tier", "safety_identifier",
                          "prompt_cache_key", "parallel_tool_calls"})
    fields.any(key);
}

// Parts {"type": "text", "text": ...} become one string; templates differ in what they make of
// parts.
OrderedJson read_content(const OrderedJson& content, const std::string& name) {
  if (content.is_null() || content.is_string()) return content;
  if (!content.is_array())
    throw HttpError::invalid_field(
        name, concat("must be a string, null or an array of parts, but is ", json_kind(content)));
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const std::string part_name = concat(name, "[", i, "]");
    if (!content[i].is_object())
      throw HttpError::invalid_field(part_name,
                                     concat("must be an object, but is ", json_kind(content[i])));
    JsonFields part(content[i], part_name + ".");
    const std::string type = part.string("type").value_or("");
    if (type != "text")
      throw HttpError::invalid_field(part.name("type"),
                                     "must be \"text\": this model reads text alone");
    const auto part_text = part.string("text");
    if (!part_text) throw HttpError::invalid_field(part.name("text"), "is missing");
    part.finish();
    text += *part_text;
  }
  return text;
}

// OpenAI spells the arguments of a call as a string of JSON; templates want the object.
void read_tool_calls(OrderedJson& message, const std::string& where) {
  const std::string name = where + "tool_calls";
  OrderedJson& calls = message["tool_calls"];
  if (calls.is_null()) {
    message.erase("tool_calls");
    return;
  }
  if (!calls.is_array()) throw HttpError::invalid_field(name, "must be an array");
  for (size_t i = 0; i < calls.size(); ++i) {
    if (!calls[i].is_object())
      throw HttpError::invalid_field(concat(name, "[", i, "]"), "must be an object");
    const auto function = calls[i].find("function");
    if (function == calls[i].end() || !function->is_object())
      throw HttpError::invalid_field(concat(name, "[", i, "].function"), "must be an object");
    const auto arguments = function->find("arguments");
    if (arguments == function->end() || !arguments->is_string()) continue;
    try {
      *arguments = parse_foreign_json(arguments->get<std::string>(), "arguments");
    } catch (const Error& error) {
      throw HttpError::invalid_field(concat(name, "[", i, "].function.arguments"),
                                     concat("must be JSON: ", error.what()));
    }
  }
}

void read_messages(JsonFields& fields, ChatRequest& chat) {
  const OrderedJson* messages = fields.array("messages");
  if (!messages || messages->empty())
    throw HttpError::invalid_field("messages", "must be an array of at least one message");
  for (size_t i = 0; i < messages->size(); ++i) {
    const std::string where = concat("messages[", i, "].");
    OrderedJson message = (*messages)[i];
    if (!message.is_object())
      throw HttpError::invalid_field(concat("messages[", i, "]"),
                                     concat("must be an object, but is ", json_kind(message)));
    const auto role = message.find("role");
    if (role == message.end() || !role->is_string() || role->get_ref<const std::string&>().empty())
      throw HttpError::invalid_field(where + "role", "must be a string, as \"user\"");
    if (message.contains("content"))
      message["content"] = read_content(message["content"], where + "content");
    else if (!message.contains("tool_calls"))
      throw HttpError::invalid_field(where + "content", "is missing");
    if (message.contains("tool_calls")) read_tool_calls(message, where);
    chat.messages.push_back(std::move(message));
  }
}

void read_tools(JsonFields& fields, ChatRequest& chat) {
  const OrderedJson* tools = fields.array("tools");
  const OrderedJson* choice = fields.any("tool_choice");
  if (choice && *choice != "auto" && *choice != "none")
    throw HttpError::invalid_field("tool_choice",
                                   "must be \"auto\" or \"none\": a call cannot be forced");
  if (!tools || tools->empty()) return;
  for (size_t i = 0; i < tools->size(); ++i) {
    if (!(*tools)[i].is_object())
      throw HttpError::invalid_field(concat("tools[", i, "]"), "must be an object");
  }
  if (!choice || *choice != "none") chat.tools = *tools;
}

void read_template_variables(JsonFields& fields, ChatRequest& chat) {
  const OrderedJson* variables = fields.object("chat_template_kwargs");
  if (!variables) return;
  for (const auto& [key, value] : variables->items()) {
    if (key == "messages" || key == "tools" || key == "add_generation_prompt")
      throw HttpError::invalid_field("chat_template_kwargs." + key, "comes from the chat itself");
    chat.variables[key] = value;
  }
}

std::vector<TextCompletionRequest::Prompt> read_prompts(const OrderedJson* prompt) {
  constexpr const char* kForms = "must be a string, an array of token ids, or an array of those";
  if (!prompt) throw HttpError::invalid_field("prompt", concat("is missing: it ", kForms));
  if (prompt->is_string()) return {prompt->get<std::string>()};
  if (!prompt->is_array() || prompt->empty()) throw HttpError::invalid_field("prompt", kForms);
  if (prompt->front().is_number()) return {read_ids(*prompt, "prompt")};
  if (prompt->size() > CompletionOptions::kMostPrompts)
    throw HttpError::invalid_field("prompt",
                                   concat("has ", prompt->size(), " prompts: at most ",
                                          CompletionOptions::kMostPrompts, " in one request"));
  std::vector<TextCompletionRequest::Prompt> prompts;
  for (size_t i = 0; i < prompt->size(); ++i) {
    const OrderedJson& one = (*prompt)[i];
    const std::string name = concat("prompt[", i, "]");
    if (one.is_string())
      prompts.emplace_back(one.get<std::string>());
    else if (one.is_array())
      prompts.emplace_back(read_ids(one, name));
    else
      throw HttpError::invalid_field(name, "must be a string or an array of token ids");
  }
  return prompts;
}

}  // namespace

OrderedJson read_body(const std::string& body) {
  OrderedJson json;
  try {
    json = parse_foreign_json(body, "the body");
  } catch (const Error& error) {
    throw HttpError({}, error.what());
  }
  if (!json.is_object())
    throw HttpError({}, concat("the body must be a JSON object, but is ", json_kind(json)));
  return json;
}

std::vector<int32_t> read_ids(const OrderedJson& array, const std::string& name) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < array.size(); ++i) {
    const auto id = json_integer(array[i], 0, INT32_MAX);
    if (!id)
      throw HttpError::invalid_field(concat(name, "[", i, "]"),
                                     concat("must be a token id, but is ", json_kind(array[i])));
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

ChatCompletionRequest read_chat_completion(const std::string& body) {
  const OrderedJson json = read_body(body);
  JsonFields fields(json, "");
  ChatCompletionRequest request;
  read_messages(fields, request.chat);
  read_tools(fields, request.chat);
  read_template_variables(fields, request.chat);
  read_common(fields, request.options);
  if (const auto tokens = fields.integer("max_completion_tokens", 1, kMost))
    request.options.max_tokens = tokens;
  if (request.options.max_tokens == 0)
    throw HttpError::invalid_field("max_tokens", "must be at least 1");
  const bool logprobs = fields.boolean("logprobs").value_or(false);
  const auto top = fields.integer("top_logprobs", 0, CompletionOptions::kMostLikeliest);
  if (top && !logprobs)
    throw HttpError::invalid_field("top_logprobs", "goes with 'logprobs': true");
  if (logprobs) request.options.likeliest = top.value_or(0);
  fields.finish();
  return request;
}

TextCompletionRequest read_text_completion(const std::string& body) {
  const OrderedJson json = read_body(body);
  JsonFields fields(json, "");
  TextCompletionRequest request;
  request.prompts = read_prompts(fields.any("prompt"));
  read_common(fields, request.options);
  request.echo = fields.boolean("echo").value_or(false);
  if (request.options.max_tokens == 0 && !request.echo)
    throw HttpError::invalid_field("max_tokens", "may be 0 only with 'echo': true");
  request.options.likeliest = fields.integer("logprobs", 0, CompletionOptions::kMostLikeliest);
  refuse_other(fields, "best_of", 1, "the server keeps every answer that it makes");
  if (fields.string("suffix").value_or("") != "")
    throw HttpError::invalid_field("suffix", "must be empty: text is continued at its end alone");
  fields.finish();
  return request;
}

}  // namespace bitsmith
