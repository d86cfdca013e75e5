// One matrix and its Hessian, from a file, through representations and methods.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "base/run_context.h"
#include "compressor/quantize/quantizer.h"

namespace bitsmith {

struct LayerJob {
  // safetensors with `weight` [out, in] and, where the method wants one, `hessian` [in, in].
  std::filesystem::path file;
  std::vector<RepresentationSpec> representations;
  std::optional<Method> method;  // none: each representation's own
  QuantizeOptions options;       // the context's seed is taken; `method` is not used
};

struct LayerTrial {
  RepresentationSpec representation;
  Method method = Method::kRtn;
  double bits = 0;            // a weight, everything that a file would hold
  double relative_error = 0;  // tr((W-Q) H (W-Q)^T) / tr(W H W^T)
  double seconds = 0;
  std::vector<StageReport> stages;
};

struct LayerTrials {
  int64_t out_features = 0, in_features = 0;
  bool has_hessian = false;
  std::vector<LayerTrial> trials;  // in the order of the representations
};

// All that the job asks is checked before any work. Throws UsageError, Error, Interrupted.
LayerTrials try_layer(const LayerJob& job, const RunContext& context);

}  // namespace bitsmith
