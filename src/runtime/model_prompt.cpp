// RuntimeModel's runs of many tokens of one sequence.
#include <algorithm>

#include "base/error.h"
#include "runtime/model.h"

namespace bitsmith {

void RuntimeModel::check_positions(int64_t length) const {
  const ModelPlan& plan = weights_.plan;
  if (weights_.positions && length > plan.positions.out_features - plan.position_offset)
    throw Error(concat("position ", length - 1, " is beyond the ", plan.context,
                       " positions that this model has learned"));
}

void RuntimeModel::rerun_if_rope_changes(KvCache& sequence, int64_t length) {
  const auto& ropes = weights_.plan.ropes;
  const bool other_keys = std::any_of(ropes.begin(), ropes.end(), [&](const RopePlan& rope) {
    return rope.scaling == RopePlan::Scaling::kLongRope &&
           rope_length_class(rope, length) != rope_length_class(rope, sequence.rope_length);
  });
  if (sequence.length() == 0 || !other_keys) return;
  const std::vector<int32_t> tokens(sequence.tokens().begin(), sequence.tokens().end());
  sequence.truncate(0);
  sequence.rope_length = length;
  run_pieces(tokens, sequence, [](std::span<const float>) { return true; });
}

bool RuntimeModel::prefill(std::span<const int32_t> tokens, KvCache& sequence,
                           const EachPiece& each_piece) {
  const int64_t length = sequence.length() + std::ssize(tokens);
  check_positions(length);
  rerun_if_rope_changes(sequence, length);
  sequence.rope_length = std::max(sequence.rope_length, length);
  return run_pieces(tokens, sequence, each_piece);
}

bool RuntimeModel::run_pieces(std::span<const int32_t> tokens, KvCache& sequence,
                              const EachPiece& each_piece) {
  std::vector<float> hidden;
  std::vector<TokenStep> rows;
  for (size_t first = 0; first < tokens.size(); first += kPromptRows) {
    rows.clear();
    for (const int32_t token :
         tokens.subspan(first, std::min(tokens.size() - first, static_cast<size_t>(kPromptRows))))
      rows.push_back({token, &sequence});
    hidden.resize(rows.size() * static_cast<size_t>(weights_.plan.hidden_size));
    forward(rows, prompt_products_, hidden);
    if (!each_piece(hidden)) return false;
  }
  return true;
}

}  // namespace bitsmith
