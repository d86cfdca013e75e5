#include "compressor/quantize_model/calibration_gap.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <numeric>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "compressor/model/decoder.h"
#include "compressor/parallel.h"
#include "compressor/quantize_model/block_stream.h"
#include "evaluate/softmax_row.h"

namespace bitsmith {
namespace {

// Final hidden states [windows, length, hidden], a block in memory at a time.
torch::Tensor streamed_hidden_states(const Decoder& decoder, const torch::Tensor& windows,
                                     const std::function<void(double)>& progress) {
  constexpr int64_t kTokensAtOnce = 4096;
  const RotaryTables rotary = decoder.rotary(windows.size(1));
  torch::Tensor x = decoder.embed(windows);
  const int64_t blocks = decoder.plan().num_blocks();
  for (int64_t i = 0; i < blocks; ++i) {
    const auto block = decoder.load_block(i);
    for (Linear* linear : block->linears()) {
      if (!linear->weight.defined())
        linear->weight = linear->representation->dequantize().to(decoder.dtype());
    }
    const auto report = [&](double share) {
      progress((static_cast<double>(i) + share) / static_cast<double>(blocks));
    };
    each_window_chunk(x, kTokensAtOnce, report, [&](int64_t first, int64_t count) {
      const torch::Tensor chunk = x.narrow(0, first, count);
      chunk.copy_(decoder.run_block(*block, chunk, rotary));
    });
  }
  return decoder.final_norm(x);
}

// Mean over the rows of hidden states [n, hidden].
double mean_kl(const torch::Tensor& teacher, const OutputHead& teacher_head,
               const torch::Tensor& student, const OutputHead& student_head) {
  constexpr int64_t kChunk = 128;
  const int64_t n = teacher.size(0);
  std::vector<double> kl(static_cast<size_t>(n));
  for (int64_t first = 0; first < n; first += kChunk) {
    const int64_t count = std::min(kChunk, n - first);
    const auto logits = [&](const torch::Tensor& hidden, const OutputHead& head) {
      return head.logits(hidden.narrow(0, first, count)).to(torch::kFloat32).contiguous();
    };
    const torch::Tensor expected = logits(teacher, teacher_head),
                        got = logits(student, student_head);
    const auto row = [](const torch::Tensor& values, int64_t i) {
      const auto vocab = static_cast<size_t>(values.size(1));
      return std::span(values.const_data_ptr<float>() + i * values.size(1), vocab);
    };
    parallel_tasks(count, [&](int64_t i) {
      kl[static_cast<size_t>(first + i)] = compare_rows(row(expected, i), row(got, i)).kl;
    });
  }
  return std::accumulate(kl.begin(), kl.end(), 0.0) / static_cast<double>(n);
}

}  // namespace

CalibrationGap calibration_gap(const std::shared_ptr<const ModelFiles>& original,
                               const std::shared_ptr<const ModelFiles>& quantized,
                               const TokenDataset& data, torch::Dtype dtype,
                               const RunContext& context) {
  const torch::NoGradGuard no_grad;
  const auto few = [](const torch::Tensor& windows) {
    return windows.narrow(0, 0, std::min(kGapWindows, windows.size(0)));
  };
  const torch::Tensor calibration = few(data.train), heldout = few(data.validation);
  CalibrationGap gap;
  if (calibration.numel() == 0 || calibration.size(1) < 2) return gap;
  const torch::Tensor windows =
      heldout.size(0) > 0 ? torch::cat({calibration, heldout}) : calibration;

  ReportedTask task(context, "judging");
  const auto run = [&](const std::shared_ptr<const ModelFiles>& files, double begin,
                       OutputHead& head) {
    const auto decoder = Decoder::load_without_blocks(files, dtype);
    head = decoder->head();
    return streamed_hidden_states(*decoder, windows, [&](double share) {
      if (context.cancelled())
        throw Interrupted("stopped while the result was judged; the same command goes on");
      task.update(begin + 0.45 * share, concat(windows.size(0), " windows"));
    });
  };
  OutputHead teacher_head, student_head;
  const torch::Tensor teacher = run(original, 0, teacher_head);
  const torch::Tensor student = run(quantized, 0.45, student_head);
  const auto kl = [&](int64_t first, int64_t count) -> std::optional<double> {
    const auto scored = [&](const torch::Tensor& hidden) {
      return hidden.narrow(0, first, count).narrow(1, 0, windows.size(1) - 1).flatten(0, 1);
    };
    const double mean = mean_kl(scored(teacher), teacher_head, scored(student), student_head);
    if (std::isfinite(mean)) return mean;
    log_warning("the result's logits are not finite: it is of no use");
    return {};
  };
  gap.calibration = kl(0, calibration.size(0));
  if (heldout.size(0) > 0) gap.heldout = kl(calibration.size(0), heldout.size(0));
  return gap;
}

std::string gap_line(const CalibrationGap& gap) {
  char line[120];
  if (gap.heldout) {
    std::snprintf(line, sizeof(line), "KL %.4f on calibration text, %.4f on held-out text",
                  gap.calibration.value(), *gap.heldout);
  } else {
    std::snprintf(line, sizeof(line), "KL %.4f on calibration text, none held out",
                  gap.calibration.value());
  }
  return concat(line, " (nats a token)");
}

OrderedJson to_json(const CalibrationGap& gap) {
  OrderedJson json = OrderedJson::object();
  if (gap.calibration) json["kl_calibration"] = *gap.calibration;
  if (gap.heldout) json["kl_heldout"] = *gap.heldout;
  return json;
}

CalibrationGap gap_from_json(const Json& json, const std::string& source) {
  CalibrationGap gap;
  if (json.contains("kl_calibration"))
    gap.calibration = json_get<double>(json, "kl_calibration", source);
  if (json.contains("kl_heldout")) gap.heldout = json_get<double>(json, "kl_heldout", source);
  return gap;
}

}  // namespace bitsmith
