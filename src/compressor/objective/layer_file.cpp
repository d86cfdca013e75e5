#include "compressor/objective/layer_file.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "base/error.h"
#include "checkpoint/safetensors.h"

namespace bitsmith {
namespace {

std::string shape_text(torch::IntArrayRef shape) {
  std::string text;
  for (const int64_t size : shape) text += concat(text.empty() ? "" : ", ", size);
  return "[" + text + "]";
}

class LayerReader {
 public:
  explicit LayerReader(const std::filesystem::path& path)
      : path_(path), file_(open_safetensors(path)) {}

  // float32; undefined where the file has no such tensor.
  torch::Tensor read(const std::string& name) const {
    const TensorView* view = file_.find(name);
    if (!view) return {};
    if (!holds_floats(view->dtype)) {
      fail(name, concat("has the data type ", dtype_name(view->dtype),
                        ", expected a floating-point type"));
    }
    auto values = torch::empty(view->shape, torch::kFloat);
    decode_to_float(
        view->dtype, view->bytes,
        std::span(values.mutable_data_ptr<float>(), static_cast<size_t>(values.numel())));
    // One by one: a large matrix needs no second one for this.
    const auto* value = values.const_data_ptr<float>();
    const auto* bad =
        std::find_if(value, value + values.numel(), [](float v) { return !std::isfinite(v); });
    if (bad != value + values.numel()) {
      std::vector<int64_t> place(view->shape.size());
      int64_t rest = bad - value;
      for (size_t i = place.size(); i-- > 0; rest /= view->shape[i]) {
        place[i] = rest % view->shape[i];
      }
      fail(name, concat("holds NaN or infinity, first at ", shape_text(place)));
    }
    return values;
  }
  torch::Tensor read(const std::string& name, const std::vector<int64_t>& shape) const {
    const TensorView* view = file_.find(name);
    if (view && view->shape != shape) {
      fail(name, concat("has the shape ", shape_text(view->shape), ", expected ", shape_text(shape),
                        ", to go with 'weight'"));
    }
    return read(name);
  }
  [[noreturn]] void fail(const std::string& name, const std::string& what) const {
    throw Error(concat(path_.string(), ": '", name, "' ", what));
  }

 private:
  std::filesystem::path path_;
  SafetensorsFile file_;  // its pages are given back with it
};

}  // namespace

LayerFile read_layer_file(const std::filesystem::path& path) {
  const LayerReader reader(path);
  LayerFile layer;
  layer.weight = reader.read("weight");
  if (!layer.weight.defined()) {
    throw Error(concat(path.string(), ": there is no tensor 'weight'"));
  }
  if (layer.weight.dim() != 2) reader.fail("weight", "is not a matrix");
  const int64_t out = layer.weight.size(0), in = layer.weight.size(1);
  layer.objective.hessian = reader.read("hessian", {in, in});
  layer.cross = reader.read("cross", {in, in});
  if (layer.cross.defined() && !layer.objective.hessian.defined()) {
    reader.fail("cross", "needs 'hessian', which is not there");
  }
  const auto weights = reader.read("row_weights", {out});
  const auto full = reader.read("output_factor", {out, out});
  if (weights.defined() && full.defined()) {
    reader.fail("row_weights", "and 'output_factor' are both there; an objective has one of them");
  }
  const bool diagonal = weights.defined();
  layer.objective.output_factor = diagonal ? weights : full;
  try {
    layer.objective.check(out, in);
  } catch (const Error& e) {
    reader.fail(diagonal ? "row_weights" : "output_factor", concat("cannot be used: ", e.what()));
  }
  return layer;
}

void write_layer_file(const std::filesystem::path& path, const LayerFile& layer) {
  std::vector<torch::Tensor> alive;
  std::vector<TensorView> tensors;
  const auto add = [&](const char* name, const torch::Tensor& tensor) {
    if (!tensor.defined()) return;
    const auto& t = alive.emplace_back(tensor.to(torch::kFloat).contiguous());
    tensors.push_back(
        {name, DType::F32, t.sizes().vec(),
         std::as_bytes(std::span(t.const_data_ptr<float>(), static_cast<size_t>(t.numel())))});
  };
  const Objective& objective = layer.objective;
  add("weight", layer.weight);
  add("hessian", objective.hessian);
  add("cross", layer.cross);
  add(objective.joins_rows() ? "output_factor" : "row_weights", objective.output_factor);
  write_safetensors(path, tensors);
}

}  // namespace bitsmith
