// PV-Tuning (Malinovskii et al. 2024), algorithm 3: the quantized student learns the teacher's
// next-token distributions, step by step (tuning_step.h), validated, resumable.
#pragma once
#include <filesystem>
#include <memory>

#include "base/run_context.h"
#include "compressor/calibration/token_dataset.h"
#include "compressor/train/teacher.h"
#include "compressor/tune/student.h"
#include "compressor/tune/tune_options.h"
#include "compressor/tune/tune_state.h"

namespace bitsmith {

// Trains `student` on data.train by options.loss, toward `targets` at options.loss.temperature;
// validates on data.validation, always by the KL to `teacher` (of the student's dtype). State and
// best tensors live in `work`; each line of `log` (JSON lines, appended) is one step or validation.
// When cancelled it throws Interrupted, with the state saved when a step was done; divergence (NaN,
// or the loss far above its start) stops with the best kept. The best projected tensors are in
// work/best.safetensors afterwards. The ranks of the context, who are the student's, do it
// together: the first writes the files, the others read the state from them. The result is the same
// with any number of ranks, and so it may be another number that goes on.
TuneResult train(Student& student, Decoder& teacher, Teacher& targets, const TokenDataset& data,
                 const TuneOptions& options, const std::string& request_hash,
                 const std::filesystem::path& work, const std::filesystem::path& log,
                 const RunContext& context = {});

// Mean KL(teacher || student) over windows [n, length], nats a token, which the ranks share. Throws
// Interrupted when cancelled. Collective.
double validation_kl(Decoder& student, Decoder& teacher, const torch::Tensor& windows,
                     int64_t micro_windows, const RunContext& context = {});

}  // namespace bitsmith
