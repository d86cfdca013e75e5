// A loaded model with what turns its tokens into text, and the engine that runs it.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/byte_size.h"
#include "base/options.h"
#include "base/run_context.h"
#include "runtime/engine.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {

// "f16" and "int8"; "single" and "many"; "off", "prompts" and "answers". UsageError for others.
std::string option_text(const KvType& type);
void parse_option(const std::string& text, KvType& type);
std::string option_text(const Products& products);
void parse_option(const std::string& text, Products& products);
std::string option_text(const Reuse& reuse);
void parse_option(const std::string& text, Reuse& reuse);

struct ContextOptions {
  static constexpr int64_t kDefault = 8192;
  int64_t context = 0;  // 0: what the model was trained for, but at most kDefault
  KvType kv_cache = KvType::kFloat16;

  template <typename Self, typename Visitor>
  static void visit(Self& o, Visitor& visitor) {
    visitor(Option{.key = "context",
                   .help = concat("Tokens of prompt and answer together (default: the model's, at "
                                  "most ",
                                  kDefault, ")"),
                   .range = at_least(1),
                   .shows_default = false},
            o.context);
    visitor(Option{.key = "kv_cache",
                   .help = "Numbers of the key and value cache: f16, or int8 in half the memory"},
            o.kv_cache);
  }
};

// Of several requests at once.
struct BatchOptions {
  int64_t parallel = 1;
  ByteSize kv_memory = {};  // 0: a context for each of `parallel`, at most half of the free memory
  Products products = Products::kSingle;
  Reuse reuse = Reuse::kAnswers;

  template <typename Self, typename Visitor>
  static void visit(Self& o, Visitor& visitor) {
    visitor(Option{.key = "parallel",
                   .help = "Requests that are answered side by side; others wait",
                   .range = OptionRange{1, 256}},
            o.parallel);
    visitor(
        Option{.key = "kv_memory",
               .help = "Memory for keys and values of all requests, as 2GiB (default: a context "
                       "for each of --parallel, at most half of the free memory)",
               .shows_default = false},
        o.kv_memory);
    visitor(Option{.key = "products",
                   .help = "How answers side by side are multiplied with the weights: single, each "
                           "by itself, the fastest for few; or many, each weight decoded once for "
                           "all"},
            o.products);
    visitor(Option{.key = "reuse",
                   .help = "Keys and values that are kept for later prompts that begin alike: off; "
                           "prompts, which changes no bit; or answers too, so that a growing chat "
                           "reads only what is new"},
            o.reuse);
  }
};

class TextModel {
 public:
  // Shows how loading goes on. Throws Error for a model that cannot be read or a memory that cannot
  // be had, UsageError for a context that the model cannot have.
  TextModel(const std::filesystem::path& model, const RunContext& run,
            const ContextOptions& context, const BatchOptions& batch = {});

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const ChatTemplate& chat_template() const { return chat_template_; }
  Engine& engine() { return *engine_; }
  int64_t context() const { return engine_->options().context; }
  // What ends an answer.
  const std::vector<int64_t>& end_tokens() const { return end_tokens_; }

  // Ids for the engine. Thread-safe. Throws Error for what the template refuses.
  std::vector<int32_t> encode_chat(const ChatRequest& request) const;
  // Plain text, which the model continues; never empty.
  std::vector<int32_t> encode_text(const std::string& text) const;

 private:
  std::unique_ptr<Tokenizer> tokenizer_;
  ChatTemplate chat_template_;
  RuntimeModel model_;
  std::unique_ptr<Engine> engine_;
  std::vector<int64_t> end_tokens_;
};

}  // namespace bitsmith
