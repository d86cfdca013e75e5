#include <algorithm>
#include <map>
#include <string_view>

#include "pipeline/report/read_report.h"

namespace bitsmith {
namespace {

constexpr const char *kEmbedding = "embedding", *kHead = "head", *kAttention = "attention",
                     *kMlp = "MLP", *kNorms = "norms and the rest", *kHeaders = "headers";
constexpr const char *kCodes = "codes", *kCodebooks = "codebooks", *kScales = "scales",
                     *kCorrections = "corrections", *kRotations = "rotations", *kDense = "dense";

std::string module_of(const std::string& tensor) { return tensor.substr(0, tensor.rfind('.')); }

std::map<std::string, std::string> places_of_modules(const ModelPlan& plan) {
  std::map<std::string, std::string> places;
  for (const BlockPlan& block : plan.blocks) {
    for (const Site& site : sites(block)) {
      const bool attention =
          site.kind == Site::Kind::kAttentionInput || site.kind == Site::Kind::kAttentionOutput;
      for (const LinearPlan* linear : site.linears)
        places[linear->name] = attention ? kAttention : kMlp;
    }
    if (block.experts) places[block.experts->router.name] = kMlp;
  }
  places[plan.embedding.name] = kEmbedding;
  if (plan.positions.exists()) places[plan.positions.name] = kEmbedding;
  if (!plan.tied) places[plan.head.name] = kHead;
  return places;
}

// By the words in the names of parts, which all kinds share.
const char* part_use(std::string_view part) {
  const auto has = [&](std::string_view word) { return part.find(word) != part.npos; };
  if (part == "codes") return kCodes;
  if (has("scale") || has("zeros")) return kScales;
  if (has("codebook")) return kCodebooks;
  if (has("signs")) return kRotations;
  return kCorrections;
}

// In the order of `uses`, without those that nothing is spent on.
template <typename UseOf>
std::vector<ReportedBytes> divided(const ModelFiles& files, const std::vector<std::string>& uses,
                                   UseOf&& use_of) {
  std::map<std::string, uint64_t> bytes;
  uint64_t rest = files.checkpoint().file_bytes();
  for (const TensorView& tensor : files.checkpoint().tensors()) {
    bytes[use_of(tensor.name)] += tensor.bytes.size();
    rest -= std::min<uint64_t>(rest, tensor.bytes.size());
  }
  bytes[kHeaders] += rest;
  std::vector<ReportedBytes> result;
  for (const std::string& use : uses)
    if (bytes[use] > 0) result.push_back({use, bytes[use]});
  return result;
}

}  // namespace

std::vector<ReportedBytes> bytes_by_place(const ModelFiles& files) {
  const std::map<std::string, std::string> places = places_of_modules(files.plan());
  return divided(files, {kEmbedding, kAttention, kMlp, kHead, kNorms, kHeaders},
                 [&](const std::string& tensor) -> std::string {
                   const auto found = places.find(module_of(tensor));
                   return found != places.end() ? found->second : kNorms;
                 });
}

std::vector<ReportedBytes> bytes_by_part(const ModelFiles& files) {
  return divided(files, {kCodes, kCodebooks, kScales, kCorrections, kRotations, kDense, kHeaders},
                 [&](const std::string& tensor) -> std::string {
                   const bool quantized =
                       files.specs().contains(module_of(tensor)) && !tensor.ends_with(".bias");
                   return quantized ? part_use(tensor.substr(tensor.rfind('.') + 1)) : kDense;
                 });
}

}  // namespace bitsmith
