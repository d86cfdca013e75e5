// One matrix and its objective, from a file, through representations and methods.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/run_context.h"
#include "compressor/quantize/quantizer.h"

namespace bitsmith {

struct LayerJob {
  // See objective/layer_file.h.
  std::filesystem::path file;
  std::vector<RepresentationSpec> representations;
  std::optional<Method> method;  // none: each representation's own
  double cross_term = 0.5;       // share of it in the target, where the file has `cross`
  QuantizeOptions options;       // the context's seed is taken; `method` is not used
};

struct LayerTrial {
  RepresentationSpec representation;
  Method method = Method::kRtn;
  double bits = 0;            // a weight, everything that a file would hold
  double relative_error = 0;  // tr(G (T-Q) H (T-Q)^T) / tr(G T H T^T)
  double seconds = 0;
  std::vector<StageReport> stages;
};

struct LayerTrials {
  int64_t out_features = 0, in_features = 0;
  std::string objective;  // "no Hessian, weights of rows": how it differs from H alone; or ""
  std::vector<LayerTrial> trials;  // in the order of the representations
};

// All that the job asks is checked before any work. Throws UsageError, Error, Interrupted.
LayerTrials try_layer(const LayerJob& job, const RunContext& context);

}  // namespace bitsmith
