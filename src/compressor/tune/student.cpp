#include "compressor/tune/student.h"

#include "base/error.h"

namespace bitsmith {
namespace {

double root_mean_square(const torch::Tensor& t) {
  return std::max(1e-12, t.square().mean().sqrt().item<double>());
}

}  // namespace

Student::Student(std::unique_ptr<Decoder> decoder, Decoder& original)
    : decoder_(std::move(decoder)) {
  const torch::NoGradGuard no_grad;
  int64_t layer = 0;
  for (const auto& block : decoder_->blocks()) {
    const auto originals = original.blocks()[layer]->linears();
    size_t position = 0;
    for (Linear* linear : block->linears()) {
      const Linear& before = *originals[position++];
      if (!linear->representation) continue;
      TunedLinear tuned;
      tuned.linear = linear;
      tuned.gradient = torch::zeros({linear->out_features, linear->in_features});
      for (auto& parameter : linear->representation->continuous_parameters()) {
        parameter.value.set_requires_grad(true);
        tuned.continuous.push_back({linear->name + "." + parameter.name,
                                    parameter.value,
                                    {},
                                    {},
                                    root_mean_square(parameter.value)});
      }
      const auto weight = linear->representation->dequantize().detach();
      tuned.code_unit = root_mean_square(
          weight - (before.weight.defined() ? before.weight : before.representation->dequantize()));
      linear->weight = weight.to(decoder_->dtype()).clone();
      linear->weight.set_requires_grad(true);
      linears_.push_back(std::move(tuned));
    }
    const std::string prefix = concat("model.layers.", layer++, ".");
    const auto add = [&](const std::string& name, torch::Tensor& live) {
      if (!live.defined()) return;
      live = live.detach().clone();
      live.set_requires_grad(true);
      auto master = live.detach().to(torch::kFloat32).clone();
      norms_.push_back({prefix + name, master, live, {}, root_mean_square(master)});
    };
    add("input_layernorm.weight", block->input_norm);
    add("post_attention_layernorm.weight", block->post_attention_norm);
    add("self_attn.q_norm.weight", block->q_norm);
    add("self_attn.k_norm.weight", block->k_norm);
  }
  if (linears_.empty())
    throw Error("this model has no quantised matrix to tune: quantize it first");
}

void Student::collect_gradients() {
  const torch::NoGradGuard no_grad;
  for (auto& tuned : linears_) {
    auto& gradient = tuned.linear->weight.mutable_grad();
    if (!gradient.defined()) continue;
    tuned.gradient.add_(gradient);
    gradient.reset();
  }
}

void Student::clear_gradients() {
  for (auto& tuned : linears_) tuned.gradient.zero_();
  for (auto& norm : norms_) norm.live.mutable_grad().reset();
}

void Student::refresh() {
  const torch::NoGradGuard no_grad;
  for (auto& tuned : linears_) tuned.linear->weight.copy_(tuned.representation().dequantize());
  for (auto& norm : norms_) norm.live.copy_(norm.value);
}

std::map<std::string, torch::Tensor> Student::save_values() {
  std::map<std::string, torch::Tensor> values;
  for (auto& tuned : linears_) {
    values[tuned.linear->name + ".codes"] = tuned.representation().codes().detach().clone();
    for (auto& c : tuned.continuous) values[c.name] = c.value.detach().clone();
  }
  for (auto& norm : norms_) values[norm.name] = norm.value.detach().clone();
  return values;
}

void Student::restore_values(const std::map<std::string, torch::Tensor>& values) {
  const torch::NoGradGuard no_grad;
  for (auto& tuned : linears_) {
    tuned.representation().codes().copy_(values.at(tuned.linear->name + ".codes"));
    for (auto& c : tuned.continuous) c.value.copy_(values.at(c.name));
  }
  for (auto& norm : norms_) norm.value.copy_(values.at(norm.name));
}

void Student::project() {
  const torch::NoGradGuard no_grad;
  for (auto& tuned : linears_) tuned.representation().project();
  for (auto& norm : norms_) norm.value.copy_(norm.value.to(torch::kHalf));
}

}  // namespace bitsmith
