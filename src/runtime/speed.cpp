#include "runtime/speed.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include "base/error.h"
#include "base/random.h"

namespace bitsmith {
namespace {

double seconds_from(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

class SpeedMeasurement {
 public:
  SpeedMeasurement(RuntimeModel& model, const SpeedOptions& options, const RunContext& context)
      : model_(model), options_(options), context_(context), random_(context.seed) {}

  MeasuredSpeed prompt(int64_t length) {
    const std::vector<int32_t> tokens = random_tokens(length);
    return repeated({.prompt = true, .tokens = length}, [&] {
      KvCache cache(model_.plan(), length);
      std::vector<float> last;
      const auto start = std::chrono::steady_clock::now();
      prefill(tokens, cache, last);
      logits(last, 1, Products::kSingle);
      return seconds_from(start);
    });
  }

  MeasuredSpeed answer(int64_t after, int64_t batch) {
    const int64_t count = options_.generate_tokens;
    std::vector<KvCache> caches;
    caches.reserve(static_cast<size_t>(batch));
    for (int64_t b = 0; b < batch; ++b) {
      caches.emplace_back(model_.plan(), after + count);
      std::vector<float> last;
      if (after > 0) prefill(random_tokens(after), caches.back(), last);
    }
    const std::vector<int32_t> tokens = random_tokens(count * batch);
    const Products products = batch == 1 ? Products::kSingle : options_.products;
    std::vector<float> hidden(static_cast<size_t>(batch * model_.plan().hidden_size));
    return repeated({.tokens = count, .after = after, .batch = batch}, [&] {
      for (KvCache& cache : caches) cache.truncate(after);
      std::vector<TokenStep> rows(static_cast<size_t>(batch));
      const auto start = std::chrono::steady_clock::now();
      for (int64_t i = 0; i < count; ++i) {
        stop_if_cancelled();
        for (int64_t b = 0; b < batch; ++b) {
          rows[static_cast<size_t>(b)] = {tokens[static_cast<size_t>(i * batch + b)],
                                          &caches[static_cast<size_t>(b)]};
        }
        model_.forward(rows, products, hidden);
        logits(hidden, batch, products);
      }
      return seconds_from(start);
    });
  }

 private:
  std::vector<int32_t> random_tokens(int64_t count) {
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    for (int32_t& token : tokens)
      token = static_cast<int32_t>(random_.below(static_cast<uint32_t>(model_.plan().vocab_size)));
    return tokens;
  }
  void stop_if_cancelled() const {
    if (context_.cancelled())
      throw Interrupted("stopped; nothing is kept, the same command measures anew");
  }
  // `last`: the hidden state of the last token.
  void prefill(const std::vector<int32_t>& tokens, KvCache& cache, std::vector<float>& last) {
    const auto width = static_cast<size_t>(model_.plan().hidden_size);
    model_.prefill(tokens, cache, [&](std::span<const float> hidden) {
      const auto row = hidden.last(width);
      last.assign(row.begin(), row.end());
      stop_if_cancelled();
      return true;
    });
  }
  void logits(std::span<const float> hidden, int64_t rows, Products products) {
    logits_.resize(static_cast<size_t>(rows * model_.plan().vocab_size));
    model_.logits(hidden, products, logits_);
  }
  // run() once gives its seconds.
  MeasuredSpeed repeated(MeasuredSpeed speed, const std::function<double()>& run) const {
    std::vector<double> rates;
    for (int64_t i = 0; i < options_.repeats; ++i)
      rates.push_back(static_cast<double>(speed.tokens * speed.batch) / run());
    std::sort(rates.begin(), rates.end());
    const size_t n = rates.size();
    speed.median = (rates[(n - 1) / 2] + rates[n / 2]) / 2;
    speed.best = rates.back();
    return speed;
  }

  RuntimeModel& model_;
  const SpeedOptions& options_;
  const RunContext& context_;
  Random random_;
  std::vector<float> logits_;
};

}  // namespace

void run_first_token(RuntimeModel& model) {
  KvCache cache(model.plan(), 1);
  std::vector<float> hidden(static_cast<size_t>(model.plan().hidden_size));
  std::vector<float> logits(static_cast<size_t>(model.plan().vocab_size));
  const TokenStep row{0, &cache};
  model.forward({&row, 1}, Products::kSingle, hidden);
  model.logits(hidden, Products::kSingle, logits);
}

std::vector<MeasuredSpeed> measure_speed(RuntimeModel& model, const SpeedOptions& options,
                                         const RunContext& context) {
  run_first_token(model);  // this process's threads may be new
  SpeedMeasurement measurement(model, options, context);
  std::vector<MeasuredSpeed> speeds;
  for (const int64_t length : options.prompt_tokens) speeds.push_back(measurement.prompt(length));
  for (const int64_t after : options.after)
    for (const int64_t batch : options.batch) speeds.push_back(measurement.answer(after, batch));
  return speeds;
}

}  // namespace bitsmith
