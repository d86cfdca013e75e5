#include "format/quantized_checkpoint.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "base/half.h"
#include "base/random.h"
#include "checkpoint/safetensors.h"
#include "format/quantization_config.h"
#include "format/random_tensor.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

// A folder of its own for each test.
class QuantizedCheckpoint : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(BITSMITH_BINARY_DIR) / "format_test_files" /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_;
};

// A base model quantized at random: the modules of `names` (module -> representation), the rest
// dense in `dense`.
struct Made {
  QuantizedCheckpointContent content;
  std::map<std::string, QuantizedTensor> quantized;
  std::vector<std::vector<uint16_t>> storage;
};

Made make_random(const Checkpoint& base, const std::map<std::string, std::string>& names,
                 DType dense, uint64_t seed) {
  Made made;
  Random random(seed);
  std::map<std::string, LinearPlan> shapes;
  for (const LinearPlan& matrix : quantizable_matrices(base.plan())) {
    shapes[matrix.name] = matrix;
  }
  for (const auto& [module, name] : names) {
    const RepresentationSpec spec = parse_representation(name);
    const LinearPlan& shape = shapes.at(module);
    const QuantizedTensor tensor =
        random_tensor(spec, shape.out_features, shape.in_features, random);
    made.content.specs[module] = spec;
    for (TensorView part : tensor.parts) {
      part.name = module + "." + part.name;
      made.content.tensors.push_back(part);
    }
    made.quantized[module] = tensor;
  }
  for (const PlannedTensor& planned : planned_tensors(base.plan())) {
    const std::string& name = planned.name;
    if (name.ends_with(".weight") && names.contains(name.substr(0, name.size() - 7))) continue;
    std::vector<uint16_t> values;
    for (const float value : base.read(name)) {
      values.push_back(dense == DType::F16 ? float_to_fp16(value) : float_to_bf16(value));
    }
    made.storage.push_back(values);
    made.content.tensors.push_back(
        TensorView{name, dense, planned.shape, std::as_bytes(std::span(made.storage.back()))});
  }
  made.content.recipe = {{"seed", seed}};
  made.content.model_card = "# A test\n";
  return made;
}

std::map<std::string, std::string> all_linears(const ModelPlan& plan, const char* name) {
  std::map<std::string, std::string> names;
  for (const BlockPlan& block : plan.blocks)
    for (const LinearPlan* linear : linears(block)) names[linear->name] = name;
  return names;
}

void expect_same(const ModelFiles& files, const Made& made) {
  for (const auto& [module, tensor] : made.quantized) {
    ASSERT_EQ(files.spec(module), std::optional(tensor.spec)) << module;
    const QuantizedTensor read = files.quantized(module);
    ASSERT_EQ(read.parts.size(), tensor.parts.size());
    for (size_t i = 0; i < read.parts.size(); ++i) {
      EXPECT_TRUE(std::ranges::equal(read.parts[i].bytes, tensor.parts[i].bytes)) << module;
    }
  }
}

const char* kModels[] = {"tiny_llama", "tiny_qwen2", "tiny_qwen3", "tiny_mistral"};

TEST_F(QuantizedCheckpoint, OneAdditiveRepresentationIsAHuggingFaceAqlmDirectory) {
  for (const char* model : kModels) {
    const auto base = Checkpoint::open(fs::path(BITSMITH_TESTDATA) / model);
    const Made made = make_random(*base, all_linears(base->plan(), "aq2x8g8"), DType::BF16, 5);
    write_quantized_checkpoint(folder_, *base, made.content);
    const auto files = ModelFiles::open(folder_);
    expect_same(*files, made);

    const Json config = read_json_file(folder_ / "config.json");
    const Json& quantization = config.at("quantization_config");
    EXPECT_EQ(quantization.at("quant_method"), "aqlm");
    EXPECT_EQ(quantization.at("num_codebooks"), 2);
    EXPECT_EQ(config.at("torch_dtype"), "float16");
    const auto dense =
        quantization.at("linear_weights_not_to_quantize").get<std::set<std::string>>();
    for (const char* name :
         {"lm_head", "lm_head.weight", "model.norm.weight", "model.embed_tokens.weight",
          "model.layers.0.input_layernorm.weight"}) {
      EXPECT_TRUE(dense.contains(name)) << name;
    }
    EXPECT_FALSE(dense.contains("model.layers.0.mlp.up_proj.weight"));
    for (const TensorView& tensor : files->checkpoint().tensors()) {
      EXPECT_TRUE(tensor.dtype == DType::F16 || tensor.name.ends_with(".codes")) << tensor.name;
    }
  }
}

TEST_F(QuantizedCheckpoint, ALinearLeftAloneIsListedTwice) {
  const auto base = Checkpoint::open(fs::path(BITSMITH_TESTDATA) / "tiny_llama");
  auto names = all_linears(base->plan(), "aq1x8g4");
  names.erase("model.layers.1.mlp.down_proj");
  const Made made = make_random(*base, names, DType::F16, 6);
  write_quantized_checkpoint(folder_, *base, made.content);
  const auto files = ModelFiles::open(folder_);
  expect_same(*files, made);
  EXPECT_FALSE(files->spec("model.layers.1.mlp.down_proj"));
  const Json listed = read_json_file(folder_ / "config.json")
                          .at("quantization_config")
                          .at("linear_weights_not_to_quantize");
  for (const char* name : {"model.layers.1.mlp.down_proj", "model.layers.1.mlp.down_proj.weight"}) {
    EXPECT_NE(std::find(listed.begin(), listed.end(), name), listed.end());
  }
}

// As the reference code writes them: a code an int8 or int16, its sign wrapped at B bits.
TEST_F(QuantizedCheckpoint, HuggingFaceCodesOfAnyNumberOfBitsAreRead) {
  const auto base = Checkpoint::open(fs::path(BITSMITH_TESTDATA) / "tiny_llama");
  for (const auto& [name, nbits] : {std::pair{"aq2x6g4", 6}, {"aq1x12g8", 12}}) {
    const fs::path folder = folder_ / name;
    fs::create_directories(folder);
    const Made made = make_random(*base, all_linears(base->plan(), name), DType::F16, 12);
    write_quantized_checkpoint(folder, *base, made.content);

    const SafetensorsFile file = open_safetensors(folder / "model.safetensors");
    std::vector<TensorView> tensors = file.tensors;
    std::vector<std::string> dense;
    std::vector<std::vector<int8_t>> bytes(tensors.size());
    std::vector<std::vector<int16_t>> words(tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      TensorView& tensor = tensors[i];
      if (tensor.name.ends_with(".weight")) dense.push_back(tensor.name);
      if (!tensor.name.ends_with(".codes")) continue;
      const auto& own = made.quantized.at(tensor.name.substr(0, tensor.name.size() - 6));
      const auto& spec = own.term<AdditiveSpec>();
      for (int64_t row = 0; row < own.out_features; ++row) {
        for (const int code : row_codes(own, row)) {
          const int wrapped = code >= 1 << (nbits - 1) ? code - (1 << nbits) : code;
          nbits < 8 ? bytes[i].push_back(static_cast<int8_t>(wrapped))
                    : words[i].push_back(static_cast<int16_t>(wrapped));
        }
      }
      tensor.dtype = nbits < 8 ? DType::I8 : DType::I16;
      tensor.shape = {own.out_features, own.in_features / spec.in_group_size, spec.num_codebooks};
      tensor.bytes =
          nbits < 8 ? std::as_bytes(std::span(bytes[i])) : std::as_bytes(std::span(words[i]));
    }
    write_safetensors(folder / "model.safetensors", tensors);
    Json config = read_json_file(folder / "config.json");
    config["quantization_config"] =
        Json::parse(make_hugging_face_config(made.content.specs, base->plan(), dense).dump());
    write_file_atomic(folder / "config.json", config.dump());
    expect_same(*ModelFiles::open(folder), made);

    config["quantization_config"]["nbits_per_codebook"] = nbits - 1;
    write_file_atomic(folder / "config.json", config.dump());
    EXPECT_THROW(ModelFiles::open(folder), Error);
  }
}

TEST(QuantizationConfig, WhatTransformersCanReplace) {
  const auto plan_of = [](const std::string& name) {
    return Checkpoint::open(fs::path(BITSMITH_TESTDATA) / "families" / name)->plan();
  };
  const auto specs_of = [](const ModelPlan& plan) {
    SpecMap specs;
    for (const auto& [module, text] : all_linears(plan, "aq2x8g8"))
      specs[module] = parse_representation(text);
    return specs;
  };
  // Conv1D; experts in a stack, of all blocks or of some
  for (const char* name : {"tiny_gpt2", "tiny_mixtral", "tiny_qwen3_moe", "tiny_qwen3_moe_mixed"})
    EXPECT_FALSE(fits_hugging_face(specs_of(plan_of(name)), plan_of(name))) << name;
  const ModelPlan plan = plan_of("tiny_gpt_neox");
  EXPECT_TRUE(fits_hugging_face(specs_of(plan), plan));
  const auto config = make_hugging_face_config(specs_of(plan), plan, {});
  const std::string dense = config.at("linear_weights_not_to_quantize").dump();
  for (const char* name : {"\"embed_out\"", "\"lm_head\""})
    EXPECT_NE(dense.find(name), std::string::npos) << dense;
}

TEST_F(QuantizedCheckpoint, MixedRepresentationsAndEmbeddingsAreBitsmiths) {
  for (const char* model : kModels) {
    const auto base = Checkpoint::open(fs::path(BITSMITH_TESTDATA) / model);
    auto names = all_linears(base->plan(), "int3g16-z");
    names["model.layers.0.self_attn.q_proj"] = "aq3x6g4";
    names["model.embed_tokens"] = "gvq2d2b-n256+rows3";
    if (!base->plan().tied) names["lm_head"] = "aq1x8g8+out1%";
    const Made made = make_random(*base, names, DType::BF16, 7);
    write_quantized_checkpoint(folder_, *base, made.content);
    const auto files = ModelFiles::open(folder_);
    expect_same(*files, made);
    EXPECT_EQ(read_json_file(folder_ / "config.json").at("quantization_config").at("quant_method"),
              "bitsmith");
    EXPECT_TRUE(files->spec("lm_head"));
    if (base->plan().tied) {
      EXPECT_EQ(files->quantized("lm_head").parts[0].bytes.data(),
                files->quantized("model.embed_tokens").parts[0].bytes.data());
    }
    EXPECT_EQ(files->checkpoint().at("model.norm.weight").dtype, DType::BF16);
  }
}

// Biases, experts, a router, and matrices that Hugging Face's files hold transposed; dense ones
// beside quantized ones.
TEST_F(QuantizedCheckpoint, OtherFamilies) {
  for (const char* model : {"tiny_gpt2", "tiny_bloom", "tiny_mixtral", "tiny_phi3"}) {
    const auto base = Checkpoint::open(fs::path(BITSMITH_TESTDATA) / "families" / model);
    auto names = all_linears(base->plan(), "aq1x8g8");
    for (const LinearPlan* linear : linears(base->plan().blocks[0])) names.erase(linear->name);
    const Made made = make_random(*base, names, DType::F16, 14);
    fs::create_directories(folder_ / model);
    write_quantized_checkpoint(folder_ / model, *base, made.content);
    const auto files = ModelFiles::open(folder_ / model);
    expect_same(*files, made);
    for (const PlannedTensor& planned : planned_tensors(base->plan())) {
      if (planned.name.ends_with(".weight") &&
          names.contains(planned.name.substr(0, planned.name.size() - 7)))
        continue;
      std::vector<float> values = base->read(planned.name);
      for (float& value : values) value = fp16_to_float(float_to_fp16(value));
      EXPECT_EQ(files->checkpoint().read(planned.name), values) << model << " " << planned.name;
    }
    const Json config = read_json_file(folder_ / model / "config.json");
    const bool replaceable = fits_hugging_face(made.content.specs, base->plan());
    EXPECT_EQ(config.at("quantization_config").at("quant_method"),
              replaceable ? "aqlm" : "bitsmith");
  }
}

TEST_F(QuantizedCheckpoint, ValuesBeyondFp16AreKept) {
  const auto base = Checkpoint::open(fs::path(BITSMITH_TESTDATA) / "tiny_llama");
  Made made = make_random(*base, all_linears(base->plan(), "aq2x8g8"), DType::BF16, 8);
  made.storage.back()[0] = float_to_bf16(1e6f);
  write_quantized_checkpoint(folder_, *base, made.content);
  expect_same(*ModelFiles::open(folder_), made);
  EXPECT_EQ(read_json_file(folder_ / "config.json").at("quantization_config").at("quant_method"),
            "bitsmith");
}

TEST_F(QuantizedCheckpoint, SameContentSameBytes) {
  const auto base = Checkpoint::open(fs::path(BITSMITH_TESTDATA) / "tiny_llama");
  const Made made = make_random(*base, all_linears(base->plan(), "int4g16"), DType::F16, 9);
  for (const char* name : {"a", "b"}) {
    fs::create_directory(folder_ / name);
    write_quantized_checkpoint(folder_ / name, *base, made.content);
  }
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(folder_ / "a")) {
    ++files;
    EXPECT_EQ(read_text_file(entry.path()),
              read_text_file(folder_ / "b" / entry.path().filename()));
  }
  EXPECT_GE(files, 6u);  // config, weights, recipe, card, tokenizer, its config
  EXPECT_TRUE(fs::exists(folder_ / "a" / "tokenizer.json"));
}

TEST_F(QuantizedCheckpoint, HostileConfigsAreErrors) {
  const auto base = Checkpoint::open(fs::path(BITSMITH_TESTDATA) / "tiny_llama");
  const Made made = make_random(*base, all_linears(base->plan(), "int4g16"), DType::F16, 10);
  write_quantized_checkpoint(folder_, *base, made.content);
  const Json good = read_json_file(folder_ / "config.json");
  const auto expect_error = [&](const char* what, const std::function<void(Json&)>& change) {
    Json config = good;
    change(config.at("quantization_config"));
    write_file_atomic(folder_ / "config.json", config.dump());
    EXPECT_THROW(ModelFiles::open(folder_), Error) << what;
  };
  const Json entry = good.at("quantization_config").at("representations").at(0);
  const auto terms = [](Json& q) -> Json& { return q["representations"][0]["terms"]; };
  const auto modules = [](Json& q) -> Json& { return q["representations"][0]["modules"]; };
  expect_error("unknown module", [&](Json& q) { modules(q).push_back("model.layers.9.x"); });
  expect_error("missing parts", [&](Json& q) { modules(q).push_back("model.embed_tokens"); });
  expect_error("not listed", [&](Json& q) { modules(q).erase(0); });
  expect_error("listed twice", [&](Json& q) { modules(q).push_back(modules(q).at(0)); });
  expect_error("two entries", [&](Json& q) { q["representations"].push_back(entry); });
  expect_error("wrong bits", [&](Json& q) { terms(q)[0]["nbits"] = 3; });
  expect_error("wrong group", [&](Json& q) { terms(q)[0]["group_size"] = 7; });
  expect_error("no kind", [&](Json& q) { terms(q)[0].erase("kind"); });
  expect_error("unknown kind", [&](Json& q) { terms(q)[0]["kind"] = "fp"; });
  expect_error("wrong kind",
               [&](Json& q) { terms(q)[0] = Json::parse(AdditiveSpec{}.to_json().dump()); });
  expect_error("a transform whose parts are missing", [&](Json& q) {
    q["representations"][0]["transform"] = {{"kind", "had"}, {"in_block", 2}, {"out_block", 0}};
  });
  expect_error("a key of a later version", [&](Json& q) { q["representations"][0]["later"] = 1; });
  expect_error("unknown field", [&](Json& q) { terms(q)[0]["later"] = 1; });
  expect_error("no terms", [&](Json& q) { terms(q) = Json::array(); });
  expect_error("two terms", [&](Json& q) { terms(q).push_back(entry.at("terms").at(0)); });
  expect_error("a correction first", [&](Json& q) { terms(q)[0] = {{"kind", "lr"}, {"rank", 2}}; });
  expect_error("an embedding with rotated outputs", [&](Json& q) {
    Json rotated = entry;
    rotated["modules"] = {"model.embed_tokens"};
    rotated["transform"] = {{"kind", "had"}, {"in_block", 0}, {"out_block", 2}};
    q["representations"].push_back(rotated);
  });
  expect_error("parts of a correction missing", [&](Json& q) {
    terms(q).push_back({{"kind", "lr"}, {"rank", 2}});
  });
  expect_error("not a list", [&](Json& q) { modules(q) = 4; });
  expect_error("no list", [](Json& q) { q.erase("representations"); });
  expect_error("version", [](Json& q) { q["version"] = 3; });
  expect_error("method", [](Json& q) { q["quant_method"] = "gptq"; });
  expect_error("no method", [](Json& q) { q = Json::array(); });
  expect_error("aqlm", [](Json& q) {
    q = {{"quant_method", "aqlm"},
         {"num_codebooks", 2},
         {"nbits_per_codebook", 8},
         {"in_group_size", 8},
         {"out_group_size", 2}};
  });
}

// {"modules": {MODULE: TEXT}}, as files of version 1 have it.
TEST_F(QuantizedCheckpoint, Version1IsRead) {
  const auto base = Checkpoint::open(fs::path(BITSMITH_TESTDATA) / "tiny_llama");
  auto names = all_linears(base->plan(), "gvq2d2b-n512-s16");
  names["model.layers.0.self_attn.q_proj"] = "aq2x4g8-s8x3";
  names["model.layers.0.self_attn.k_proj"] = "gvq2d1b-n256-t16";
  names["model.embed_tokens"] = "int8g0";
  const Made made = make_random(*base, names, DType::F16, 13);
  write_quantized_checkpoint(folder_, *base, made.content);
  Json config = read_json_file(folder_ / "config.json");
  names["model.layers.0.self_attn.q_proj"] = "aq2x4g8-s3";
  names["model.layers.0.self_attn.k_proj"] = "gvq2d1b-n256-g16";
  const auto open = [&](const std::map<std::string, std::string>& modules) {
    config["quantization_config"] = {
        {"quant_method", "bitsmith"}, {"version", 1}, {"modules", modules}};
    write_file_atomic(folder_ / "config.json", config.dump());
    return ModelFiles::open(folder_);
  };
  expect_same(*open(names), made);

  const char* q_proj = "model.layers.0.self_attn.q_proj";
  for (const char* bad : {"int4", "int4g7", "int4g16", "aq2x4g8", "gvq2d2b-n512"}) {
    auto other = names;
    other[q_proj] = bad;
    EXPECT_THROW(open(other), Error) << bad;
  }
  auto unknown = names;
  unknown["model.layers.9.x"] = "int4g16";
  EXPECT_THROW(open(unknown), Error);
}

// Files that a Bitsmith of each version has written (testdata/make_models.py): the same matrices.
TEST_F(QuantizedCheckpoint, EveryVersionOpensAndDecodesTheSame) {
  const auto open = [](const char* name) {
    return ModelFiles::open(fs::path(BITSMITH_TESTDATA) / name);
  };
  const auto old = open("tiny_quantized_v1"), now = open("tiny_quantized_v2");
  EXPECT_EQ(old->specs(), now->specs());
  EXPECT_GE(now->specs().size(), 7u);
  for (const auto& [module, spec] : now->specs()) {
    const QuantizedTensor a = old->quantized(module), b = now->quantized(module);
    std::vector<float> first(static_cast<size_t>(a.in_features * a.out_features)), second = first;
    decode_rows(a, 0, a.out_features, first);
    decode_rows(b, 0, b.out_features, second);
    EXPECT_EQ(first, second) << module;
  }
}

TEST_F(QuantizedCheckpoint, DamagedPartsAreErrors) {
  const auto base = Checkpoint::open(fs::path(BITSMITH_TESTDATA) / "tiny_llama");
  const Made made = make_random(*base, all_linears(base->plan(), "aq2x8g8"), DType::F16, 11);
  const auto scales = mutable_part(made.quantized.begin()->second, "scales");
  scales[0] = std::byte{0}, scales[1] = std::byte{0x7c};  // infinity
  EXPECT_THROW(write_quantized_checkpoint(folder_, *base, made.content), Error);
}

}  // namespace
}  // namespace bitsmith
