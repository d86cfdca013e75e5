#include "format/kinds/hf_aqlm.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.h"
#include "format/bit_packing.h"
#include "format/spec_fields.h"

namespace bitsmith {
namespace {

// transformers 4 lists the weight's name, transformers 5 the module's.
bool lists(const std::set<std::string>& names, const std::string& module) {
  return names.contains(module) || names.contains(module + ".weight");
}

// The additive representation that `spec` is, if it is one.
const AdditiveSpec* only_term(const RepresentationSpec& spec) {
  if (spec.transform || spec.terms.size() != 1) return nullptr;
  return std::get_if<AdditiveSpec>(&spec.terms.front());
}

}  // namespace

bool is_hf_aqlm(const Json& config_json) {
  const auto found = config_json.find("quantization_config");
  return found != config_json.end() && found->is_object() &&
         found->value("quant_method", Json()) == "aqlm";
}

SpecMap parse_hf_aqlm(const Json& quantization, const std::vector<LinearPlan>& linears,
                      const std::string& source) {
  AdditiveSpec spec;
  spec.num_codebooks = static_cast<int>(spec_field(quantization, "num_codebooks", 1, 8, source));
  spec.nbits_per_codebook =
      static_cast<int>(spec_field(quantization, "nbits_per_codebook", 1, 16, source));
  spec.in_group_size = spec_field(quantization, "in_group_size", 1, 64, source);
  spec_field(quantization, "out_group_size", 1, 1, source);
  const auto dense = json_get_or<std::set<std::string>>(
      quantization, "linear_weights_not_to_quantize", {}, source);
  SpecMap specs;
  for (const LinearPlan& linear : linears) {
    if (!lists(dense, linear.name)) specs[linear.name] = spec;
  }
  return specs;
}

bool fits_hf_aqlm(const SpecMap& specs) {
  if (specs.empty()) return false;
  const auto* first = only_term(specs.begin()->second);
  // Other numbers of bits have codes as wide as these there, and group scales have no place.
  if (!first || (first->nbits_per_codebook != 8 && first->nbits_per_codebook != 16)) return false;
  if (first->scale_bits > 0) return false;
  return std::all_of(specs.begin(), specs.end(),
                     [&](const auto& entry) { return entry.second == specs.begin()->second; });
}

OrderedJson make_hf_aqlm_config(const SpecMap& specs, const std::vector<LinearPlan>& linears,
                                const std::vector<std::string>& dense_tensors) {
  const auto& spec = *only_term(specs.begin()->second);
  std::set<std::string> dense(dense_tensors.begin(), dense_tensors.end());
  for (const LinearPlan& linear : linears) {
    if (specs.contains(linear.name)) continue;
    dense.insert(linear.name);
    dense.insert(linear.name + ".weight");
  }
  return {{"quant_method", "aqlm"},
          {"nbits_per_codebook", spec.nbits_per_codebook},
          {"num_codebooks", spec.num_codebooks},
          {"out_group_size", 1},
          {"in_group_size", spec.in_group_size},
          {"linear_weights_not_to_quantize", dense}};
}

void pack_hf_codes(QuantizedTensor& tensor, const std::string& module) {
  const auto& spec = tensor.term<AdditiveSpec>();
  if (spec.nbits_per_codebook == 8 || spec.nbits_per_codebook == 16) return;
  TensorView& codes = tensor.parts.front();
  const int64_t groups = tensor.in_features / spec.in_group_size;
  const std::vector<int64_t> shape = {tensor.out_features, groups, spec.num_codebooks};
  const DType dtype = spec.nbits_per_codebook < 8 ? DType::I8 : DType::I16;
  const int64_t per_row = groups * spec.num_codebooks, width = dtype == DType::I8 ? 1 : 2;
  if (codes.dtype != dtype || codes.shape != shape ||
      static_cast<int64_t>(codes.bytes.size()) != tensor.out_features * per_row * width) {
    throw Error(concat(module, ".codes: expected ", dtype_name(dtype), " ", shape_string(shape),
                       ", found ", dtype_name(codes.dtype), " ", shape_string(codes.shape)));
  }
  // The file stays mapped for the other parts.
  struct Storage {
    std::shared_ptr<const void> file;
    std::vector<std::byte> codes;
  };
  const PartLayout layout = part_layout(spec, tensor.out_features, tensor.in_features).front();
  const int64_t bytes = byte_size(layout.dtype, layout.shape), row_bytes = layout.shape[1];
  const auto storage = std::make_shared<Storage>();
  storage->file = tensor.storage;
  storage->codes.resize(static_cast<size_t>(bytes));
  const unsigned mask = (1u << spec.nbits_per_codebook) - 1;
  std::vector<uint16_t> row(static_cast<size_t>(per_row));
  for (int64_t r = 0; r < tensor.out_features; ++r) {
    for (int64_t i = 0; i < per_row; ++i) {
      uint16_t value = 0;  // little-endian: the low byte is enough for int8
      std::memcpy(&value, codes.bytes.data() + (r * per_row + i) * width, width);
      row[i] = static_cast<uint16_t>(value & mask);
    }
    pack_row(row, spec.nbits_per_codebook,
             std::span(storage->codes)
                 .subspan(static_cast<size_t>(r * row_bytes), static_cast<size_t>(row_bytes)));
  }
  codes = {codes.name, layout.dtype, layout.shape, storage->codes};
  tensor.storage = storage;
}

}  // namespace bitsmith
