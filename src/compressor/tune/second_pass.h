// Second passes of one-shot quantization inside tuning: what the local objectives say of codes,
// where the end loss has the last word.
#pragma once
#include <cstdint>
#include <functional>

#include "compressor/tune/code_pass.h"

namespace bitsmith {

// What became of a block.
struct BlockOutcome {
  int64_t block = 0;
  int64_t searched = 0, kept = 0;  // matrices
  int64_t changed = 0;             // code groups that have other codes now
  double kl = 0;                   // on the held-out windows, of the whole student as it now is
};

// Block after block, from `first_block` on (those before it have had their turn): each matrix gets
// the codes that coordinate descent finds from the present ones for the original's outputs on the
// student's inputs (Objective with cross term, guided weights of tokens), with options.solve
// continuous parameters for the same. All changes of a block stay if the KL on the held-out windows
// falls; else each that lowers it by itself does; the rest is undone, to the bit. `done` gets each
// block when it is finished: from there another call may go on, and ends with the same bytes.
// Embedding and head stay. Where job.progress throws, the present block is as it was.
void second_pass(const CodePassJob& job, int64_t first_block,
                 const std::function<void(const BlockOutcome&)>& done);

// Gives `tuned` better codes, and with `solve` continuous parameters, for `weight` + the shift of
// the objective. Codes are searched without a diagonal output factor, which joins rows where a
// rotation mixes them: there it is left to the caller whether the objective falls; elsewhere it
// never rises. The dense copy follows.
void search_toward(TunedLinear& tuned, const torch::Tensor& weight, const Objective& objective,
                   bool solve);

}  // namespace bitsmith
