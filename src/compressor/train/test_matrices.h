// Matrices for the tests of this folder.
#pragma once
#include <cctype>
#include <memory>
#include <string>
#include <vector>

#include "base/half.h"
#include "base/random.h"
#include "compressor/quantize/quantizer.h"
#include "compressor/train/tuned_blocks.h"

namespace bitsmith {

// Every kind, a sum and a transform, for matrices [48, 64].
inline const std::vector<const char*> kEveryRepresentation = {
    "int3g16", "int3g16-z", "aq1x4g4",     "aq2x8g8",     "aq1x4g4-s4x2", "gvq2d2b-n512",
    "e8p",     "e8p3",      "int3g16+lr2", "had:int3g16", "had:e8p"};

// A name as tests may have one.
inline std::string test_name(std::string text) {
  for (char& c : text) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return text;
}

// A matrix with random codes; fp16 codebooks and scales as in a file.
inline std::unique_ptr<Representation> random_representation(const std::string& spec, int64_t out,
                                                             int64_t in) {
  const QuantizedTensor tensor = allocate_quantized(parse_representation(spec), out, in);
  Random random(3);
  for (const TensorView& part : tensor.parts) {
    const auto bytes = mutable_part(tensor, part.name);
    if (part.dtype == DType::F16) {
      auto* values = reinterpret_cast<uint16_t*>(bytes.data());
      for (size_t i = 0; i < bytes.size() / 2; ++i) {
        const double value = part.name == "scales" ? 0.5 + random.uniform() : 0.1 * random.normal();
        values[i] = float_to_fp16(static_cast<float>(value));
      }
    } else {
      for (auto& byte : bytes) byte = static_cast<std::byte>(random.next() & 255);
    }
  }
  return representation_from_format(tensor);
}

// Gives a linear the nearest codes to its weights.
inline void quantize_to_nearest(Linear& linear, const std::string& representation) {
  const torch::NoGradGuard no_grad;
  linear.representation =
      quantize_linear(linear.weight.to(torch::kFloat32), {}, parse_representation(representation),
                      {.method = Method::kRtn})
          .representation;
}

// One random linear under training, in float32.
struct TrainedMatrix {
  TrainedMatrix(const std::string& spec, int64_t out, int64_t in) {
    linear.name = "matrix";
    linear.out_features = out;
    linear.in_features = in;
    linear.representation = random_representation(spec, out, in);
    blocks.add(linear, torch::kFloat32);
  }
  TrainedMatrix(const TrainedMatrix&) = delete;
  TunedLinear& tuned() { return blocks.linears().front(); }
  CodedTerm& term() { return linear.representation->coded(); }

  Linear linear;
  TunedBlocks blocks;
};

// Codes of all code groups by trying each of the `count` codes of a code group (one code each):
// those whose values are nearest to `target` [out, in].
inline torch::Tensor nearest_codes_by_trial(const CodedTerm& term, const torch::Tensor& target,
                                            int64_t count) {
  const auto code_groups = torch::arange(term.num_code_groups());
  const auto wanted =
      target.reshape({term.num_code_groups(), term.code_group_size()}).to(torch::kFloat64);
  std::vector<torch::Tensor> errors;
  for (int64_t code = 0; code < count; ++code) {
    const auto codes = torch::full({term.num_code_groups(), 1}, code, torch::kInt32);
    errors.push_back((term.decode_code_groups(code_groups, codes) - wanted).square().sum(1));
  }
  return torch::stack(errors, 1).argmin(1, true).to(torch::kInt32);
}

}  // namespace bitsmith
