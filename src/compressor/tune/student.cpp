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
                 TrainedParts parts, StateMemory& memory)
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
    add(*block, *decoder_, parts.vectors);
    give_rules(block->linears(), teacher.blocks()[static_cast<size_t>(block->index)]->linears());
  }
  std::vector<Linear*> outer, originals;
  for (size_t i = 0; i < decoder_->outer_linears().size(); ++i) {
    if (!(i == 0 ? parts.embedding : parts.head)) continue;
    outer.push_back(decoder_->outer_linears()[i]);
    originals.push_back(teacher.outer_linears()[i]);
    if (outer.back()->representation) add(*outer.back(), decoder_->dtype());
  }
  give_rules(outer, originals);
  if (linears().empty())
    throw Error("this model has no quantized matrix to tune: quantize it first");
}

}  // namespace bitsmith
