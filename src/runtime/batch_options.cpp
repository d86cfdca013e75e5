#include "runtime/batch_options.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/name_table.h"

namespace bitsmith {
namespace {

constexpr NameTable<KvType, 2> kKvTypes{"key and value cache",
                                        {{KvType::kFloat16, "f16"}, {KvType::kInt8, "int8"}}};
constexpr NameTable<Products, 3> kProducts{
    "way of products",
    {{Products::kSingle, "single"}, {Products::kShared, "int8"}, {Products::kExact, "exact"}}};
constexpr NameTable<Reuse, 3> kReuse{
    "reuse", {{Reuse::kOff, "off"}, {Reuse::kPrompts, "prompts"}, {Reuse::kAnswers, "answers"}}};

int64_t choose_context(const ModelPlan& plan, int64_t wanted) {
  const int64_t trained = plan.context;
  if (wanted <= 0) return std::min(trained, ContextOptions::kDefault);
  if (wanted > trained && plan.positions.exists())
    throw UsageError(concat("the model has learned ", trained, " positions: a context of ", wanted,
                            " tokens is not possible"));
  if (wanted > trained && !extends_context(plan)) {
    log_warning(concat("the model was trained for contexts of ", trained,
                       " tokens; beyond that its answers lose sense"));
  }
  return wanted;
}

// 0: the engine's own choice.
int64_t choose_pages(const ModelPlan& plan, const EngineOptions& engine, uint64_t kv_memory) {
  if (engine.max_batch == 1 && kv_memory == 0) return 0;
  const auto page = static_cast<uint64_t>(KvPool::bytes_per_page(plan, engine.kv_type));
  const int64_t context = KvPool::pages_for(engine.context);
  const auto limit = [&](uint64_t memory) {
    return static_cast<int64_t>(std::min<uint64_t>(memory / page, INT32_MAX));
  };
  if (kv_memory == 0) {
    // One context in any case: memory is only taken as it is used.
    return std::clamp(limit(available_memory_bytes() / 2), context, engine.max_batch * context);
  }
  const int64_t pages = limit(kv_memory);
  if (pages < 1) {
    throw UsageError(concat("--kv-memory ", option_text(ByteSize{kv_memory}), " holds no ",
                            KvPool::kPage, " tokens of keys and values, which take ",
                            format_bytes(static_cast<double>(page))));
  }
  if (pages < context) {
    log_warning(concat("--kv-memory ", option_text(ByteSize{kv_memory}), " holds ",
                       pages * KvPool::kPage,
                       " tokens: longer requests are refused, though the "
                       "context has ",
                       engine.context));
  }
  return pages;
}

}  // namespace

std::string option_text(const KvType& type) { return kKvTypes.name(type); }
void parse_option(const std::string& text, KvType& type) { type = kKvTypes.parse(text); }
std::string option_text(const Products& products) { return kProducts.name(products); }
void parse_option(const std::string& text, Products& products) { products = kProducts.parse(text); }
std::string option_text(const Reuse& reuse) { return kReuse.name(reuse); }
void parse_option(const std::string& text, Reuse& reuse) { reuse = kReuse.parse(text); }

Products prompt_products(Products answers) {
  return answers == Products::kExact ? Products::kExact : Products::kInt8;
}

EngineOptions engine_options(const ModelPlan& plan, int64_t vocab_size,
                             const ContextOptions& context, const BatchOptions& batch) {
  EngineOptions options{.context = choose_context(plan, context.context),
                        .max_batch = batch.parallel,
                        .kv_type = context.kv_cache,
                        .products = batch.products,
                        .reuse = batch.reuse,
                        .vocab_size = vocab_size};
  options.kv_pages = choose_pages(plan, options, batch.kv_memory.bytes);
  return options;
}

}  // namespace bitsmith
