#include "compressor/quantize_model/experts_in_turn.h"

#include "architecture/site_weights.h"

namespace bitsmith {

ExpertsInTurn::ExpertsInTurn(const Decoder& decoder, int64_t block_index, bool with_original)
    : decoder_(decoder),
      block_(load_block_without_experts(decoder.files(), block_index, decoder.dtype())),
      original_(with_original ? std::make_shared<Block>(*block_) : block_) {}

void ExpertsInTurn::enter(const Site& site) {
  if (site.expert == expert_) return;
  if (expert_ >= 0) {
    drop_expert(expert_, *block_);
    drop_expert(expert_, *original_);
  }
  expert_ = site.expert;
  if (expert_ < 0) return;
  load_expert(decoder_.files(), expert_, decoder_.dtype(), *block_);
  if (original_ != block_) site_mlp(*original_, site) = site_mlp(*block_, site);
}

}  // namespace bitsmith
