// Options of `bitsmith serve`.
#pragma once
#include <cstdint>
#include <string>

#include "base/byte_size.h"
#include "base/options.h"
#include "runtime/batch_options.h"

namespace bitsmith {

struct ServeOptions {
  static constexpr int64_t kYear = 365 * 24 * 3600;  // seconds
  // What a byte of a body may take until its prompts are made: JSON of small values takes 30 times
  // its bytes when it is parsed, and a text as much while tokens are made of it.
  static constexpr int64_t kMemoryOfBodyByte = 48;

  std::string host = "127.0.0.1";
  int64_t port = 8080;
  std::string api_key_file;
  std::string cors;
  std::string model_name;
  int64_t answer_tokens = 1024, max_tokens = 0, max_prompt = 0;
  ByteSize max_body = {8 << 20}, body_memory = {512 << 20};
  int64_t max_connections = 64, max_queue = 64;
  int64_t time_limit = 600, read_timeout = 30, grace = 10;  // seconds
  ContextOptions context;
  BatchOptions batch = {.parallel = 4};

  template <typename Self, typename Visitor>
  static void visit(Self& o, Visitor& visitor) {
    visitor(
        Option{.key = "host",
               .help = "Address to listen on; 0.0.0.0 is all of this machine's: give a key then"},
        o.host);
    visitor(Option{.key = "port",
                   .help = "Port to listen on; 0: any that is free",
                   .range = OptionRange{0, 65535}},
            o.port);
    visitor(Option{.key = "api_key_file",
                   .help = "File whose first line is the key that clients must give (default: the "
                           "environment's BITSMITH_API_KEY; without either no key is asked for)"},
            o.api_key_file);
    visitor(
        Option{.key = "cors",
               .help = "Origin whose pages may use the server, as https://example.org; * for all "
                       "(default: the server's own page alone)"},
        o.cors);
    visitor(Option{.key = "model_name",
                   .help = "Name of the model in the API (default: that of its file)"},
            o.model_name);
    ContextOptions::visit(o.context, visitor);
    BatchOptions::visit(o.batch, visitor);
    visitor(Option{.key = "answer_tokens",
                   .help = "Longest answer of a chat whose request does not say",
                   .range = at_least(1)},
            o.answer_tokens);
    visitor(Option{.key = "max_tokens",
                   .help = "Longest answer that a request may ask for; 0: the context",
                   .range = at_least(0)},
            o.max_tokens);
    visitor(Option{.key = "max_prompt",
                   .help = "Most tokens of a prompt; 0: the context",
                   .range = at_least(0)},
            o.max_prompt);
    visitor(Option{.key = "max_body", .help = "Most bytes of a request's body"}, o.max_body);
    visitor(Option{.key = "body_memory",
                   .help = concat("Memory for the bodies of all requests that are read at once; a "
                                  "byte of them counts as ",
                                  kMemoryOfBodyByte)},
            o.body_memory);
    visitor(Option{.key = "max_connections",
                   .help = "Most connections at once",
                   .range = OptionRange{1, 900}},
            o.max_connections);
    visitor(Option{.key = "max_queue",
                   .help = "Most requests that wait for their turn; more are refused",
                   .range = at_least(0)},
            o.max_queue);
    visitor(Option{.key = "time_limit",
                   .help = "Seconds that a request may take, with its wait",
                   .range = OptionRange{1, kYear}},
            o.time_limit);
    visitor(Option{.key = "read_timeout",
                   .help = "Seconds that a client has to send a request",
                   .range = OptionRange{1, kYear}},
            o.read_timeout);
    visitor(Option{.key = "grace",
                   .help = "Seconds that running answers have when the server is told to stop",
                   .range = OptionRange{0, kYear}},
            o.grace);
  }
};

}  // namespace bitsmith
