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
                 TrainedParts parts, StateMemory& memory, Communicator& communicator)
    : TunedBlocks(memory, communicator), decoder_(std::move(decoder)) {
  std::vector<const Linear*> originals;  // of linears()
  const auto add_originals = [&](const std::vector<Linear*>& now,
                                 const std::vector<Linear*>& before) {
    for (size_t i = 0; i < now.size(); ++i)
      if (now[i]->representation) originals.push_back(before[i]);
  };
  for (const auto& block : decoder_->blocks()) {
    add(*block, *decoder_, parts.vectors);
    add_originals(block->linears(), teacher.blocks()[static_cast<size_t>(block->index)]->linears());
  }
  for (size_t i = 0; i < decoder_->outer_linears().size(); ++i) {
    if (!(i == 0 ? parts.embedding : parts.head)) continue;
    Linear* outer = decoder_->outer_linears()[i];
    if (outer->representation) add(*outer, decoder_->dtype());
    add_originals({outer}, {teacher.outer_linears()[i]});
  }
  if (linears().empty())
    throw Error("this model has no quantized matrix to tune: quantize it first");
  deal();
  for (size_t i = 0; i < linears().size(); ++i) {
    TunedLinear& tuned = linears()[i];
    if (tuned.owner != communicator.rank()) continue;
    tuned.rule = rule(tuned.representation().coded(), distance(*tuned.linear, *originals[i]),
                      static_cast<int64_t>(i));
  }
}

}  // namespace bitsmith
