// Matrices of a model with the Hessians of their inputs, as files for try_layer().
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/run_context.h"
#include "pipeline/compressor/training_data.h"

namespace bitsmith {

struct HessianJob {
  std::filesystem::path model, out;
  std::vector<std::string> modules;  // regular expressions over names of matrices
  TrainingDataOptions data;
  std::string dtype = "float32";  // of the forward passes: "float32" or "bfloat16"
};

struct HessianFile {
  std::string module;
  int64_t out_features = 0, in_features = 0;
  std::filesystem::path path;
};

struct HessianOutcome {
  int64_t tokens = 0;
  std::vector<HessianFile> files;  // in model order
};

// Writes OUT/MODULE.safetensors for each matrix: `weight` [out, in] and `hessian` [in, in], 2/n
// times the sum of x x^T over the n tokens, both float32. Files of the same name are replaced.
// Throws UsageError for a pattern that names nothing, Error, Interrupted.
HessianOutcome write_hessians(const HessianJob& job, const RunContext& context);

}  // namespace bitsmith
