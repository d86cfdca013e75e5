// KL between two models over windows of tokens, from their final hidden states.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "base/run_context.h"
#include "compressor/model/decoder.h"
#include "compressor/torch.h"
#include "format/quantized_checkpoint.h"

namespace bitsmith {

// KL(teacher || student) in nats, mean over the rows of final hidden states [n, hidden], after the
// norm. Logits exist for few rows at a time.
double mean_kl(const torch::Tensor& teacher, const OutputHead& teacher_head,
               const torch::Tensor& student, const OutputHead& student_head);
// The same, bit by bit, by the teacher's kept_logits().
double mean_kl(const torch::Tensor& teacher_logits, const torch::Tensor& student,
               const OutputHead& student_head);
// [n, vocab] float32 of final hidden states [n, hidden]: half of the work of mean_kl(), for a
// teacher of many students.
torch::Tensor kept_logits(const torch::Tensor& hidden, const OutputHead& head);

// All positions of hidden states [windows, length, hidden] but the last of each window, which
// predicts nothing: [n, hidden].
torch::Tensor scored_states(const torch::Tensor& hidden);

// The mean KL over each of `texts`, windows [n, length] int64 of one length; nothing for one where
// it is not finite (a warning says so). One pass of each model, a block in memory at a time, in
// `dtype`. Throws Interrupted.
std::vector<std::optional<double>> streamed_kl(const std::shared_ptr<const ModelFiles>& original,
                                               const std::shared_ptr<const ModelFiles>& quantized,
                                               const std::vector<torch::Tensor>& texts,
                                               torch::Dtype dtype, const RunContext& context);

}  // namespace bitsmith
