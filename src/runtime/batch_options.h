// What users choose of an engine: its context, and what several requests at once may take.
#pragma once
#include <cstdint>
#include <string>

#include "base/byte_size.h"
#include "base/options.h"
#include "runtime/engine.h"

namespace bitsmith {

// In words: "f16" and "int8"; "single", "int8" and "exact"; "off", "prompts" and "answers".
// UsageError for others.
std::string option_text(const KvType& type);
void parse_option(const std::string& text, KvType& type);
std::string option_text(const Products& products);
void parse_option(const std::string& text, Products& products);
std::string option_text(const Reuse& reuse);
void parse_option(const std::string& text, Reuse& reuse);

// Of a model whose answers have these: exact is for prompts too.
Products prompt_products(Products answers);

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
                   .help = "How answers side by side are multiplied with the weights: single, as "
                           "each alone, the fastest for few; int8, each weight decoded once for "
                           "all, to int8, but additive codes (aq), which are faster as single; or "
                           "exact, to float32, prompts too"},
            o.products);
    visitor(Option{.key = "reuse",
                   .help = "Keys and values that are kept for later prompts that begin alike: off; "
                           "prompts, which changes no bit; or answers too, so that a growing chat "
                           "reads only what is new"},
            o.reuse);
  }
};

// Of a model whose tokenizer has so many ids. Throws UsageError for a context that the model cannot
// have and for memory that holds nothing; warns of what will disappoint.
EngineOptions engine_options(const ModelPlan& plan, int64_t vocab_size,
                             const ContextOptions& context, const BatchOptions& batch);

}  // namespace bitsmith
