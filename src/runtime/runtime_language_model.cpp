#include "runtime/runtime_language_model.h"

#include "runtime/model.h"
#include "runtime/model_source.h"

namespace bitsmith {
namespace {

class RuntimeLanguageModel : public LanguageModel {
 public:
  RuntimeLanguageModel(const ModelSource& source, const RunContext& context)
      : model_(source.weights(DensePrecision::kExact, context), context.threads, Products::kExact) {
  }

  int64_t vocab_size() const override { return model_.plan().vocab_size; }

  void run(std::span<const int32_t> tokens) override {
    hidden_.clear();
    if (tokens.empty()) return;
    // Float32 like the weights: what is judged is the model, not the cache's rounding.
    KvCache cache(model_.plan(), std::ssize(tokens), KvType::kFloat32);
    model_.prefill(tokens, cache, [&](std::span<const float> hidden) {
      hidden_.insert(hidden_.end(), hidden.begin(), hidden.end());
      return true;
    });
  }

  void logits(int64_t first, int64_t count, std::span<float> out) override {
    const size_t width = static_cast<size_t>(model_.plan().hidden_size);
    BITSMITH_CHECK(first >= 0 && count >= 0 &&
                   static_cast<size_t>(first + count) * width <= hidden_.size());
    model_.logits(std::span<const float>(hidden_).subspan(static_cast<size_t>(first) * width,
                                                          static_cast<size_t>(count) * width),
                  Products::kExact, out);
  }

 private:
  RuntimeModel model_;
  std::vector<float> hidden_;  // [tokens, hidden_size] of the window last run
};

}  // namespace

std::unique_ptr<LanguageModel> load_runtime_language_model(const std::filesystem::path& model,
                                                           const RunContext& context) {
  return std::make_unique<RuntimeLanguageModel>(*ModelSource::open(model), context);
}

}  // namespace bitsmith
