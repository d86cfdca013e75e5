// Words for people about a quantized model: the table of errors, and the README.md of the result.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "architecture/checkpoint.h"
#include "compressor/quantize_model/quantize_model.h"

namespace bitsmith {

// "smollm2.gguf", "SmolLM2-135M": a model's file or folder without its path.
std::string model_name(const std::filesystem::path& path);

// A Markdown table of the linears, the largest relative error first; at most `rows` of them.
std::string linear_table(const std::vector<LinearSummary>& linears, size_t rows);

// The same for the same work: no times, no paths.
std::string quantized_model_card(const Checkpoint& base, const QuantizeModelResult& result,
                                 const OrderedJson& recipe);

}  // namespace bitsmith
