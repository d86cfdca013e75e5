#include "compressor/tune/block_finetune.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "compressor/train/p_step.h"
#include "compressor/train/tuned_blocks.h"
#include "compressor/tune/tune_memory.h"

namespace bitsmith {
namespace {

class BlockTraining {
 public:
  BlockTraining(const Decoder& decoder, Block& block, const torch::Tensor& inputs,
                const torch::Tensor& targets, const BlockFinetuneOptions& options,
                const RunContext& context)
      : decoder_(decoder),
        block_(block),
        inputs_(inputs),
        targets_(targets),
        options_(options),
        context_(context),
        rotary_(decoder.rotary(inputs.size(1))),
        random_(options.seed, static_cast<uint64_t>(block.index)) {
    tuned_.add(block, decoder);
    const int64_t windows = inputs.size(0);
    const auto held_out =
        static_cast<int64_t>(std::llround(options.validation_share * static_cast<double>(windows)));
    train_ = windows > 1 ? windows - std::clamp<int64_t>(held_out, 1, windows - 1) : windows;
    batch_ = std::clamp<int64_t>(options.batch_tokens / inputs.size(1), 1, train_);
    scale_ = mean_square_change();
  }

  BlockFinetuneReport run() {
    const auto start = std::chrono::steady_clock::now();
    BlockFinetuneReport report;
    auto best = tuned_.save_values();
    report.before = report.after = validate();
    int worse = 0;
    for (int epoch = 0; epoch < options_.epochs && scale_ > 0; ++epoch) {
      train_epoch(epoch);
      ++report.epochs;
      const auto values = tuned_.save_values();
      const double error = validate();
      if (error < report.after) {
        report.after = error;
        best = tuned_.save_values();  // projected
        worse = 0;
      } else if (++worse >= options_.patience) {
        break;
      }
      tuned_.restore_values(values);
      tuned_.refresh();
    }
    tuned_.restore_values(best);
    tuned_.project();
    report.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (auto& norm : tuned_.norms()) report.dense[norm.name] = norm.value;
    return report;
  }

 private:
  // Of the block's inputs, by what it should do to them.
  double mean_square_change() const {
    double sum = 0;
    for (int64_t at = 0; at < inputs_.size(0); at += batch_) {
      const int64_t count = std::min(batch_, inputs_.size(0) - at);
      const auto change = targets_.narrow(0, at, count) - inputs_.narrow(0, at, count);
      sum += static_cast<double>(count) * change.to(torch::kFloat).square().mean().item<double>();
    }
    return sum / static_cast<double>(inputs_.size(0));
  }

  torch::Tensor error_of(const torch::Tensor& x, const torch::Tensor& y) {
    const auto difference = decoder_.run_block(block_, x, rotary_) - y;
    return difference.to(torch::kFloat).square().mean() / scale_;
  }

  void train_epoch(int epoch) {
    std::vector<int64_t> order(static_cast<size_t>(train_));
    std::iota(order.begin(), order.end(), 0);
    for (int64_t i = train_ - 1; i > 0; --i) {
      std::swap(order[i], order[random_.below(static_cast<uint32_t>(i + 1))]);
    }
    const int64_t steps = (train_ + batch_ - 1) / batch_;
    for (int64_t s = 0; s < steps; ++s) {
      if (context_.cancelled()) throw Interrupted("fine-tuning of a block was interrupted");
      const std::vector<int64_t> chosen(order.begin() + s * batch_,
                                        order.begin() + std::min(train_, (s + 1) * batch_));
      const auto windows = torch::tensor(chosen, torch::kInt64);
      tuned_.clear_gradients();
      error_of(inputs_.index_select(0, windows), targets_.index_select(0, windows)).backward();
      tuned_.collect_gradients();
      const double share =
          static_cast<double>(epoch * steps + s) / static_cast<double>(options_.epochs * steps);
      const double rate = options_.learning_rate * (1 - (1 - options_.final_rate) * share);
      p_step(tuned_, ++step_, rate, {});
      tuned_.refresh();
    }
  }

  // Of the projected block on the windows held out (on all of them when there is but one).
  double validate() {
    const torch::NoGradGuard no_grad;
    tuned_.project();
    const int64_t first = train_ < inputs_.size(0) ? train_ : 0;
    double sum = 0;
    for (int64_t at = first; at < inputs_.size(0); at += batch_) {
      const int64_t count = std::min(batch_, inputs_.size(0) - at);
      sum += static_cast<double>(count) *
             error_of(inputs_.narrow(0, at, count), targets_.narrow(0, at, count)).item<double>();
    }
    return sum / static_cast<double>(inputs_.size(0) - first);
  }

  const Decoder& decoder_;
  Block& block_;
  torch::Tensor inputs_, targets_;
  BlockFinetuneOptions options_;
  const RunContext& context_;
  RotaryTables rotary_;
  Random random_;
  TunedBlocks tuned_;
  int64_t train_ = 0, batch_ = 0, step_ = 0;
  double scale_ = 0;
};

}  // namespace

BlockFinetuner block_finetuner(const BlockFinetuneOptions& options, const RunContext& context) {
  return {.train =
              [options, context](const Decoder& decoder, Block& block, const torch::Tensor& inputs,
                                 const torch::Tensor& targets) {
                const torch::AutoGradMode with_gradients(true);
                return BlockTraining(decoder, block, inputs, targets, options, context).run();
              },
          .memory_bytes =
              [options](const QuantizationPlan& plan, const ModelPlan& model, int64_t length,
                        int64_t element) {
                return finetune_memory_bytes(plan, model, options.batch_tokens, length, element);
              }};
}

}  // namespace bitsmith
