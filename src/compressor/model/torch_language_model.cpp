#include "compressor/model/torch_language_model.h"

#include <ATen/Parallel.h>

#include "base/error.h"
#include "compressor/model/decoder.h"

namespace bitsmith {
namespace {

class TorchLanguageModel : public LanguageModel {
 public:
  explicit TorchLanguageModel(std::unique_ptr<Decoder> decoder) : decoder_(std::move(decoder)) {}

  int64_t vocab_size() const override { return decoder_->plan().vocab_size; }

  void run(std::span<const int32_t> tokens) override {
    const torch::NoGradGuard no_grad;
    if (tokens.empty()) throw Error("cannot run a window of no tokens");
    torch::Tensor ids = torch::empty({1, static_cast<int64_t>(tokens.size())}, torch::kInt64);
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] < 0 || tokens[i] >= vocab_size())
        throw Error(concat("token id ", tokens[i], " at position ", i,
                           " is outside the model's vocabulary of ", vocab_size()));
      ids.data_ptr<int64_t>()[i] = tokens[i];
    }
    hidden_ = decoder_->hidden_states(ids)[0];
  }

  void logits(int64_t first, int64_t count, std::span<float> out) override {
    const torch::NoGradGuard no_grad;
    BITSMITH_CHECK(hidden_.defined() && first >= 0 && count >= 0 &&
                   first + count <= hidden_.size(0));
    BITSMITH_CHECK(static_cast<int64_t>(out.size()) == count * vocab_size());
    const torch::Tensor chunk = hidden_.slice(0, first, first + count);
    torch::from_blob(out.data(), {count, vocab_size()}, torch::kFloat32)
        .copy_(decoder_->head().logits(chunk));
  }

 private:
  std::unique_ptr<Decoder> decoder_;
  torch::Tensor hidden_;  // [length, hidden] of the window last run
};

}  // namespace

std::unique_ptr<LanguageModel> load_torch_language_model(const std::filesystem::path& model,
                                                         DType dtype, int threads) {
  const torch::NoGradGuard no_grad;
  if (dtype != DType::F32 && dtype != DType::BF16)
    throw UsageError(concat("LibTorch computes in F32 or BF16, not in ", dtype_name(dtype)));
  at::set_num_threads(threads);
  const torch::Dtype torch_dtype = dtype == DType::F32 ? torch::kFloat32 : torch::kBFloat16;
  std::unique_ptr<Decoder> decoder = Decoder::load(ModelFiles::open(model), torch_dtype);
  // The weights never change here, so each is decoded once rather than in every window.
  for (const std::shared_ptr<Block>& block : decoder->blocks()) {
    for (Linear* linear : block->linears()) {
      if (!linear->representation) continue;
      linear->weight = linear->representation->dequantize().to(torch_dtype);
      linear->representation.reset();
    }
  }
  return std::make_unique<TorchLanguageModel>(std::move(decoder));
}

}  // namespace bitsmith
