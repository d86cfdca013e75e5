#include "compressor/quantize_model/block_share.h"

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "compressor/tensor_bytes.h"

namespace bitsmith {

BlockShare::BlockShare(Block& block, const QuantizationPlan& plan, Communicator& communicator)
    : plan_(plan), communicator_(communicator) {
  std::vector<std::string> modules;
  std::vector<double> sizes;
  for (const Linear* linear : block.linears()) {
    if (!plan.find(linear->name)) continue;
    modules.push_back(linear->name);
    sizes.push_back(static_cast<double>(linear->out_features * linear->in_features));
  }
  const std::vector<int> owners = deal_by_size(sizes, communicator.size());
  for (size_t i = 0; i < modules.size(); ++i) owners_[modules[i]] = owners[i];
}

bool BlockShare::owns(const Linear& linear) const {
  const auto found = owners_.find(linear.name);
  return found != owners_.end() && found->second == communicator_.rank();
}

bool BlockShare::owns_any(const std::vector<const Linear*>& linears) const {
  return std::ranges::any_of(linears, [&](const Linear* linear) { return owns(*linear); });
}

LinearObserver BlockShare::note() {
  return [this](const LinearSummary& summary, const std::vector<StageReport>& stages) {
    noted_[summary.module] = {summary, stages};
  };
}

BlockShare::Noted BlockShare::share_noted(const Noted& own, int owner) {
  OrderedJson json;
  if (owner == communicator_.rank()) {
    json = to_json(own.summary);
    json["seconds"] = own.summary.seconds;
    json["stages"] = OrderedJson::array();
    for (const StageReport& stage : own.stages)
      json["stages"].push_back({{"stage", stage.stage},
                                {"relative_error", stage.relative_error},
                                {"seconds", stage.seconds}});
  }
  const std::string text = communicator_.broadcast_text(json.dump(), owner);
  if (owner == communicator_.rank()) return own;
  const std::string source = "another rank's matrix";
  const Json read = parse_json(text, source);
  Noted noted{linear_from_json(read, source), {}};
  for (const Json& stage : json_get<Json>(read, "stages", source))
    noted.stages.push_back({json_get<std::string>(stage, "stage", source),
                            json_get<double>(stage, "relative_error", source),
                            json_get<double>(stage, "seconds", source)});
  return noted;
}

void BlockShare::exchange(const std::vector<Linear*>& linears, bool with_weights,
                          QuantizedModules own, QuantizedModules& modules,
                          const LinearObserver& observer) {
  for (Linear* linear : linears) {
    const PlannedMatrix* matrix = plan_.find(linear->name);
    if (!matrix) continue;
    const int owner = owners_.at(linear->name);
    const Noted noted = share_noted(noted_[linear->name], owner);
    noted_.erase(linear->name);
    QuantizedTensor& tensor = modules.matrices[linear->name];
    tensor = owner == communicator_.rank()
                 ? std::move(own.matrices.at(linear->name))
                 : allocate_quantized(matrix->spec, linear->out_features, linear->in_features);
    for (const TensorView& part : tensor.parts)
      communicator_.broadcast(mutable_part(tensor, part.name), owner);
    if (with_weights) {
      if (owner != communicator_.rank()) linear->weight = torch::empty_like(linear->weight);
      communicator_.broadcast(tensor_bytes(linear->weight), owner);
    }
    if (observer) observer(noted.summary, noted.stages);
    modules.linears.push_back(noted.summary);
  }
}

std::vector<int64_t> sum_of_ranks(const std::vector<int64_t>& counts, Communicator& communicator) {
  std::vector<double> sums(counts.begin(), counts.end());
  communicator.sum(sums);
  return {sums.begin(), sums.end()};
}

Share share_of_windows(int64_t count, int64_t length, int64_t tokens, int rank, int ranks) {
  if (count == 0) return {};
  const int64_t at_once = std::max<int64_t>(1, tokens / length);
  const Share chunks = share_of((count + at_once - 1) / at_once, rank, ranks);
  return {std::min(count, chunks.first * at_once), std::min(count, chunks.last * at_once)};
}

}  // namespace bitsmith
