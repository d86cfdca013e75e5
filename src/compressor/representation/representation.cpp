#include "compressor/representation/representation.h"

#include "base/error.h"
#include "compressor/representation/kinds/kinds.h"

namespace bitsmith {

torch::Dtype code_dtype(int nbits) { return nbits <= 8 ? torch::kByte : torch::kInt; }

void CodedTerm::assign_codes(const torch::Tensor& code_groups, const torch::Tensor& codes) {
  const torch::NoGradGuard no_grad;
  auto live = this->codes();
  if (code_groups.defined()) {
    live.index_copy_(0, code_groups, codes.to(live.scalar_type()));
  } else {
    live.copy_(codes);
  }
}

Representation::Representation(std::unique_ptr<CodedTerm> coded,
                               std::vector<std::unique_ptr<Term>> corrections,
                               std::shared_ptr<Rotation> rotation)
    : coded_(std::move(coded)),
      corrections_(std::move(corrections)),
      rotation_(std::move(rotation)) {
  for (const auto& term : corrections_) {
    BITSMITH_CHECK(term->out_features() == out_features() && term->in_features() == in_features());
  }
}

RepresentationSpec Representation::spec() const {
  std::vector<TermSpec> terms = {coded_->spec()};
  for (const auto& term : corrections_) terms.push_back(term->spec());
  if (!rotation_) return RepresentationSpec(terms);
  return RepresentationSpec(terms, rotation_->spec());
}

torch::Tensor Representation::dequantize() const {
  torch::Tensor sum = coded_->dequantize();
  for (const auto& term : corrections_) sum = sum + term->dequantize();
  return rotation_ ? rotation_->to_weights(sum) : sum;
}

torch::Tensor Representation::to_code_space(const torch::Tensor& weights) const {
  return rotation_ ? rotation_->to_code_space(weights) : weights;
}

torch::Tensor Representation::gradient_to_code_space(const torch::Tensor& gradient) const {
  return rotation_ ? rotation_->gradient_to_code_space(gradient) : gradient;
}

Objective Representation::to_code_space(const Objective& objective) const {
  return rotation_ ? rotation_->to_code_space(objective) : objective;
}

torch::Tensor Representation::forward(const torch::Tensor& x) const {
  return torch::matmul(x, dequantize().to(x.scalar_type()).t());
}

std::vector<ContinuousParameter> Representation::continuous_parameters() const {
  std::vector<ContinuousParameter> all = coded_->continuous_parameters();
  for (const auto& term : corrections_) {
    for (auto& parameter : term->continuous_parameters()) all.push_back(parameter);
  }
  if (rotation_) {
    for (auto& parameter : rotation_->continuous_parameters()) all.push_back(parameter);
  }
  return all;
}

void Representation::project() {
  coded_->project();
  for (const auto& term : corrections_) term->project();
  if (rotation_) rotation_->project();
}

double Representation::bits() const {
  const double weights = static_cast<double>(out_features()) * static_cast<double>(in_features());
  return bits_per_weight(spec(), out_features(), in_features()) * weights;
}

QuantizedTensor Representation::to_format() const {
  const QuantizedTensor tensor = allocate_quantized(spec(), out_features(), in_features());
  coded_->store(tensor);
  for (const auto& term : corrections_) term->store(tensor);
  if (rotation_) rotation_->store(tensor);
  return tensor;
}

std::unique_ptr<Representation> representation_from_format(const QuantizedTensor& tensor) {
  const auto& terms = tensor.spec.terms;
  auto coded =
      visit_coded(terms.front(), [&](const auto& spec) { return make_term(spec, tensor); });
  std::vector<std::unique_ptr<Term>> corrections;
  for (size_t i = 1; i < terms.size(); ++i) {
    corrections.push_back(std::visit(
        [&](const auto& spec) -> std::unique_ptr<Term> { return make_term(spec, tensor); },
        terms[i]));
  }
  auto rotation = tensor.spec.transform ? std::make_shared<Rotation>(tensor) : nullptr;
  return std::make_unique<Representation>(std::move(coded), std::move(corrections),
                                          std::move(rotation));
}

}  // namespace bitsmith
