// A quantized checkpoint from hostile hands: it opens or gives an Error, and what opens decodes.
// The first byte says what the rest is:
//   0  a config.json, a zero byte, a safetensors file;
//   1  a config.json, a zero byte, then values for tensors of the shapes that it asks for;
//   2  one byte that chooses a representation for a tiny model and, by its highest bit, the
//      version of the format, then such values.
// A file that begins with "{" is 1 without the first byte, so that any config.json is a seed.
// In 1 and 2 four bytes before the values damage one tensor: which, what of it, and by how much.
#include <iterator>
#include <memory>
#include <tuple>
#include <vector>

#include "architecture/family.h"
#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "format/quantization_config.h"
#include "format/quantized_checkpoint.h"

namespace {

using namespace bitsmith;

using Bytes = std::span<const std::byte>;

constexpr int64_t kMaxWeights = 1 << 16;  // larger models would only be slow
constexpr const char* kTinyConfig = R"({"architectures": ["LlamaForCausalLM"],
  "model_type": "llama", "hidden_act": "silu", "vocab_size": 24, "hidden_size": 16,
  "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
  "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5})";
constexpr const char* kRepresentations[] = {"int4g8",
                                            "int3g16-z",
                                            "int1g0",
                                            "int8g2-z",
                                            "aq1x8g8",
                                            "aq2x8g8",
                                            "aq1x16g4",
                                            "aq3x5g2",
                                            "aq2x12g16",
                                            "aq1x8g8-s8x4",
                                            "aq2x5g4-s4x1",
                                            "aq2x8g8-s8x8",
                                            "gvq1d2b-n64",
                                            "gvq2d2b",
                                            "gvq2d1.5b-n96-s2",
                                            "gvq1d3b-n48-s8-c16",
                                            "gvq4d0.75b-n128-t16-s4",
                                            "gvq1d2b-n48-r2",
                                            "int3g16+out2%",
                                            "aq1x8g8+lr3",
                                            "gvq2d2b+out5w+lr1",
                                            "had:int3g8",
                                            "had-out:gvq2d2b+lr1",
                                            "had-real:int3g8",
                                            "gvq2d2b+rows3",
                                            "e8p",
                                            "had:e8p3",
                                            "e8p4+lr1"};

class MemoryCheckpoint : public Checkpoint {
 public:
  MemoryCheckpoint(Json config, std::vector<TensorView> tensors) {
    path_ = "fuzz";
    plan_ = plan_model(config, "fuzz");
    config_json_ = std::move(config);
    tensors_ = std::move(tensors);
    build_index();
  }
};

// Takes bytes from the front of the input; zeros when it is used up.
class Source {
 public:
  explicit Source(Bytes bytes) : rest_(bytes) {}
  uint8_t byte() {
    if (rest_.empty()) return 0;
    const auto value = std::to_integer<uint8_t>(rest_.front());
    rest_ = rest_.subspan(1);
    return value;
  }
  std::string text_until_zero() {
    std::string text;
    while (!rest_.empty()) {
      const auto c = static_cast<char>(byte());
      if (c == 0) break;
      text += c;
    }
    return text;
  }
  Bytes rest() const { return rest_; }

 private:
  Bytes rest_;
};

// The tensors that a reader of `config` expects, one of them damaged.
struct MadeTensors {
  std::vector<TensorView> views;
  std::vector<std::vector<std::byte>> storage;

  MadeTensors(const Json& config_json, Source source) {
    const ModelPlan plan = plan_model(config_json, "fuzz");
    const SpecMap specs = parse_quantization_config(config_json, plan, "fuzz");
    for (const auto& planned : planned_tensors(plan)) {
      const auto& [name, shape] = std::tie(planned.name, planned.shape);
      const std::string module = name.substr(0, name.rfind('.'));
      if (!specs.contains(module)) {
        views.push_back({name, DType::F16, shape, {}});
        continue;
      }
      for (const PartLayout& part : part_layout(specs.at(module), shape[0], shape[1])) {
        views.push_back({module + "." + part.name, part.dtype, part.shape, {}});
      }
    }
    damage(source);
    fill(source);
  }

  void damage(Source& source) {
    TensorView& tensor = views[source.byte() % views.size()];
    const int what = source.byte() % 8, place = source.byte();
    const int64_t change = static_cast<int8_t>(source.byte());
    if (what == 0) tensor.shape[static_cast<size_t>(place) % tensor.shape.size()] += change;
    if (what == 1) tensor.dtype = static_cast<DType>(place % (static_cast<int>(DType::BOOL) + 1));
    if (what == 2) tensor.name += static_cast<char>(place);
    if (what == 3) tensor.shape.push_back(change);
  }

  void fill(Source& source) {
    for (TensorView& tensor : views) {
      const int64_t size = byte_size(tensor.dtype, tensor.shape);
      if (size > 8 * kMaxWeights) throw Error("too large to be fuzzed");
      std::vector<std::byte>& bytes = storage.emplace_back(static_cast<size_t>(size));
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(source.byte());
      tensor.bytes = bytes;
    }
  }
};

Json tiny_config(int choice) {
  Json config = parse_json(kTinyConfig, "fuzz");
  const RepresentationSpec spec = parse_representation(
      kRepresentations[static_cast<size_t>(choice) % std::size(kRepresentations)]);
  const ModelPlan model = plan_model(config, "fuzz");
  SpecMap specs;
  for (const LinearPlan& matrix : quantizable_matrices(model)) {
    const bool whole = is_outer_matrix(model, matrix.name) && mixes_rows(spec);
    specs[matrix.name] = whole ? row_representation(8, matrix.in_features) : spec;
  }
  if (choice < 128) {
    config["quantization_config"] = Json::parse(make_bitsmith_config(specs, model).dump());
  } else {
    Json modules;
    for (const auto& [module, asked] : specs) modules[module] = to_string(asked);
    config["quantization_config"] = {
        {"quant_method", "bitsmith"}, {"version", 1}, {"modules", modules}};
  }
  return config;
}

void open_and_decode(Json config, std::vector<TensorView> tensors) {
  const auto checkpoint = std::make_shared<MemoryCheckpoint>(std::move(config), std::move(tensors));
  const auto files = ModelFiles::from(checkpoint);
  files->decoder_bits();
  for (const LinearPlan& matrix : quantizable_matrices(files->plan())) {
    if (!files->spec(matrix.name)) continue;
    const QuantizedTensor tensor = files->quantized(matrix.name);
    std::vector<float> row(static_cast<size_t>(tensor.in_features));
    for (const int64_t at : {int64_t{0}, tensor.out_features - 1}) decode_rows(tensor, at, 1, row);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Source source(std::as_bytes(std::span(data, size)));
  try {
    const bool plain_config = size > 0 && data[0] == '{';
    const int mode = plain_config ? 1 : source.byte() % 3;
    const Json config =
        mode == 2 ? tiny_config(source.byte()) : parse_json(source.text_until_zero(), "fuzz");
    if (mode == 0) {
      open_and_decode(config, parse_safetensors(source.rest(), "fuzz"));
    } else {
      const MadeTensors made(config, source);
      open_and_decode(config, made.views);
    }
  } catch (const Error&) {
  }
  return 0;
}
