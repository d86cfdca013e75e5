#include "runtime/text_model.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/name_table.h"
#include "runtime/model_source.h"

namespace bitsmith {
namespace {

constexpr NameTable<KvType, 2> kKvTypes{"key and value cache",
                                        {{KvType::kFloat16, "f16"}, {KvType::kInt8, "int8"}}};
constexpr NameTable<Products, 2> kProducts{
    "way of products", {{Products::kSingle, "single"}, {Products::kMany, "many"}}};
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

TextModel::TextModel(const std::filesystem::path& model, const RunContext& run,
                     const ContextOptions& context, const BatchOptions& batch)
    : tokenizer_(Tokenizer::open(model)),
      chat_template_(*tokenizer_),
      model_(ModelSource::open(model)->weights(DensePrecision::kFast, run), run.threads),
      end_tokens_(model_.plan().eos_token_ids) {
  EngineOptions options{.context = choose_context(model_.plan(), context.context),
                        .max_batch = batch.parallel,
                        .kv_type = context.kv_cache,
                        .products = batch.products,
                        .reuse = batch.reuse,
                        .vocab_size = tokenizer_->vocab_size()};
  options.kv_pages = choose_pages(model_.plan(), options, batch.kv_memory.bytes);
  engine_ = std::make_unique<Engine>(model_, options);
  if (tokenizer_->eos_id) end_tokens_.push_back(*tokenizer_->eos_id);
  end_tokens_.push_back(tokenizer_->document_separator());
  // GGUF files name one end token; these end a turn of a chat.
  for (const char* name : {"<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>"})
    if (const auto id = tokenizer_->token_id(name)) end_tokens_.push_back(*id);
}

std::vector<int32_t> TextModel::encode_chat(const ChatRequest& request) const {
  std::vector<int32_t> prompt = chat_template_.render(request).encode(*tokenizer_);
  if (prompt.empty()) throw Error("the model's chat template made no text of the conversation");
  return prompt;
}

std::vector<int32_t> TextModel::encode_text(const std::string& text) const {
  std::vector<int32_t> ids = tokenizer_->encode(text);
  if (ids.empty()) ids.push_back(tokenizer_->bos_id.value_or(tokenizer_->document_separator()));
  return ids;
}

}  // namespace bitsmith
