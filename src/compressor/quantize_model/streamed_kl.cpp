#include "compressor/quantize_model/streamed_kl.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <span>

#include "base/error.h"
#include "base/log.h"
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
      if (linear->weight.defined()) continue;
      linear->weight = linear->representation->dequantize().to(decoder.dtype());
      linear->representation.reset();
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

constexpr int64_t kRowsAtOnce = 128;  // of logits

torch::Tensor logits_of_rows(const torch::Tensor& hidden, const OutputHead& head, int64_t first,
                             int64_t count) {
  return head.logits(hidden.narrow(0, first, count)).to(torch::kFloat32).contiguous();
}

// teacher_rows(first, count): its logits.
template <typename TeacherRows>
double mean_kl_of(const TeacherRows& teacher_rows, const torch::Tensor& student,
                  const OutputHead& student_head) {
  const int64_t n = student.size(0);
  std::vector<double> kl(static_cast<size_t>(n));
  for (int64_t first = 0; first < n; first += kRowsAtOnce) {
    const int64_t count = std::min(kRowsAtOnce, n - first);
    const torch::Tensor expected = teacher_rows(first, count),
                        got = logits_of_rows(student, student_head, first, count);
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

double mean_kl(const torch::Tensor& teacher, const OutputHead& teacher_head,
               const torch::Tensor& student, const OutputHead& student_head) {
  BITSMITH_CHECK(teacher.size(0) == student.size(0));
  return mean_kl_of(
      [&](int64_t first, int64_t count) {
        return logits_of_rows(teacher, teacher_head, first, count);
      },
      student, student_head);
}

double mean_kl(const torch::Tensor& teacher_logits, const torch::Tensor& student,
               const OutputHead& student_head) {
  BITSMITH_CHECK(teacher_logits.size(0) == student.size(0));
  return mean_kl_of(
      [&](int64_t first, int64_t count) { return teacher_logits.narrow(0, first, count); }, student,
      student_head);
}

torch::Tensor kept_logits(const torch::Tensor& hidden, const OutputHead& head) {
  const int64_t n = hidden.size(0);
  torch::Tensor logits = torch::empty({n, head.weight.size(0)}, torch::kFloat32);
  for (int64_t first = 0; first < n; first += kRowsAtOnce) {
    const int64_t count = std::min(kRowsAtOnce, n - first);
    logits.narrow(0, first, count).copy_(logits_of_rows(hidden, head, first, count));
  }
  return logits;
}

torch::Tensor scored_states(const torch::Tensor& hidden) {
  return hidden.narrow(1, 0, hidden.size(1) - 1).flatten(0, 1);
}

std::vector<std::optional<double>> streamed_kl(const std::shared_ptr<const ModelFiles>& original,
                                               const std::shared_ptr<const ModelFiles>& quantized,
                                               const std::vector<torch::Tensor>& texts,
                                               torch::Dtype dtype, const RunContext& context) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor windows = torch::cat(texts);
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
  std::vector<std::optional<double>> means;
  int64_t first = 0;
  for (const torch::Tensor& text : texts) {
    const auto own = [&](const torch::Tensor& hidden) {
      return scored_states(hidden.narrow(0, first, text.size(0)));
    };
    const double mean = mean_kl(own(teacher), teacher_head, own(student), student_head);
    first += text.size(0);
    if (std::isfinite(mean)) {
      means.push_back(mean);
    } else {
      means.push_back(std::nullopt);
      log_warning(
          "the KL of the result is not finite: its logits are not, or not those of the original");
    }
  }
  return means;
}

}  // namespace bitsmith
