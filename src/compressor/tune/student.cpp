#include "compressor/tune/student.h"

#include "base/error.h"

namespace bitsmith {
namespace {

double distance(const Linear& linear, const Linear& teacher) {
  const torch::NoGradGuard no_grad;
  const auto before =
      teacher.weight.defined() ? teacher.weight : teacher.representation->dequantize();
  const auto difference = linear.representation->dequantize() - before;
  return difference.square().mean().sqrt().item<double>();
}

}  // namespace

Student::Student(std::unique_ptr<Decoder> decoder, Decoder& teacher, const CodeRuleFactory& rule,
                 StateMemory& memory)
    : TunedBlocks(memory), decoder_(std::move(decoder)) {
  size_t done = 0;
  // Those of `now` that were added last.
  const auto give_rules = [&](const std::vector<Linear*>& now, const std::vector<Linear*>& before) {
    for (size_t i = 0; i < now.size(); ++i) {
      if (!now[i]->representation) continue;
      linears()[done].rule = rule(now[i]->representation->coded(), distance(*now[i], *before[i]),
                                  static_cast<int64_t>(done));
      ++done;
    }
  };
  for (const auto& block : decoder_->blocks()) {
    add(*block, *decoder_);
    give_rules(block->linears(), teacher.blocks()[static_cast<size_t>(block->index)]->linears());
  }
  for (Linear* linear : decoder_->outer_linears()) {
    if (linear->representation) add(*linear, decoder_->dtype());
  }
  give_rules(decoder_->outer_linears(), teacher.outer_linears());
  if (linears().empty())
    throw Error("this model has no quantized matrix to tune: quantize it first");
}

}  // namespace bitsmith
