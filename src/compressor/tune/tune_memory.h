// What a tuning run takes, before it starts.
#pragma once
#include <cstdint>
#include <string>

#include "compressor/quantize_model/quantization_plan.h"
#include "compressor/tune/tune_options.h"
#include "format/quantized_checkpoint.h"

namespace bitsmith {

// The dtype of the passes: what "auto" is on this processor, by gemm_rates().
std::string run_dtype(const TuneOptions& options);

// Weights of the quantized embedding and head that learn.
int64_t trained_outer_weights(const ModelFiles& quantized, const TuneOptions& options);

// Bytes of the moments of code gradients and of latent weights, after the first step, on all ranks
// together. The rest of the optimizer's state is small.
uint64_t rule_state_bytes(const ModelFiles& quantized, const TuneOptions& options);

// Bytes a weight of the quantized matrices that learn, beyond the teacher's, on one of `ranks`:
// dense copy, gradient, codes, continuous parameters, and the optimizer's state, wherever it lies.
double trained_bytes_a_weight(const ModelFiles& quantized, const TuneOptions& options,
                              int ranks = 1);

// Bytes of memory at the peak of a run on windows of `length` tokens, of each of its `ranks`: both
// models, gradients, codes and values with their moments, and what the backward pass of a
// micro-batch needs. Memory that is free but in pieces comes on top.
uint64_t tune_memory_bytes(const ModelFiles& quantized, const TuneOptions& options, int64_t length,
                           int ranks = 1);

// About the bytes that fine-tuning of one block takes at its peak (block_finetune.h), beside its
// inputs and targets for all windows: the largest block of the model, with the representations of
// the plan. A step has `batch_tokens` tokens in windows of `length`, passes are in numbers of
// `element` bytes.
int64_t finetune_memory_bytes(const QuantizationPlan& plan, const ModelPlan& model,
                              int64_t batch_tokens, int64_t length, int64_t element);

// options.micro_tokens, halved until a run needs no more than `bytes`, of one window of `length`
// tokens at least. Where no size is small enough, options.micro_tokens: smaller ones would only be
// slower.
int64_t fitting_micro_tokens(const ModelFiles& quantized, TuneOptions options, int64_t length,
                             uint64_t bytes);

}  // namespace bitsmith
