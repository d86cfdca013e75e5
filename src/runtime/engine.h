// Many requests on one model: their sequences are generated side by side, prompts are read in
// pieces between the steps, and who waits is served in turn.
//
// A request's text depends on the request alone, not on what runs beside it: each row of a forward
// call is computed as if it were alone (Products). Only keys and values that were kept from earlier
// sequences can differ by rounding, and only where Reuse says so.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/run_context.h"
#include "runtime/fair_queue.h"
#include "runtime/model.h"
#include "runtime/request.h"

namespace bitsmith {

// Which pages of keys and values are kept for the prompts to come.
enum class Reuse {
  kOff,
  // Those of prompts: the numbers are the same as if they were computed anew.
  kPrompts,
  // Also those of answers, so that a growing chat reads only what is new. Without
  // RuntimeModel::same_as_prompts() they differ by rounding from what reading the answer as a
  // prompt gives.
  kAnswers
};

struct EngineOptions {
  int64_t context = 0;    // tokens that prompt and answer may have together, at least 1
  int64_t max_batch = 1;  // sequences side by side
  int64_t kv_pages = 0;   // of KvPool; 0: a whole context for each of max_batch
  KvType kv_type = KvType::kFloat16;
  Products products = Products::kSingle;  // of generated tokens; prompts have the model's
  Reuse reuse = Reuse::kAnswers;
  // Only ids below are sampled: the tokenizer's size, where the model has more rows (padding).
  // 0: all of the model's.
  int64_t vocab_size = 0;
};

struct EngineStats {
  int64_t waiting = 0, running = 0;
  int64_t kv_pages = 0, kv_pages_held = 0, kv_pages_kept = 0;
  int64_t prompt_tokens = 0, shared_tokens = 0, generated_tokens = 0;  // since the start
  double prompt_seconds = 0, generate_seconds = 0;                     // of the model's work
  std::array<int64_t, 6> finished = {};                                // by FinishReason
};

using RequestId = int64_t;

// One thread calls everything. The model belongs to the caller and outlives the engine; nobody else
// uses it meanwhile.
class Engine {
 public:
  // Throws Error when the memory for keys and values cannot be had.
  Engine(RuntimeModel& model, const EngineOptions& options);
  ~Engine();  // without a word to requests that are left: fail_all() first
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const EngineOptions& options() const { return options_; }

  // Throws RequestError, and UsageError for sampling options out of range.
  RequestId submit(Request request);
  // Ends it with kCancelled; nothing happens where it has ended already.
  void cancel(RequestId id);
  // Ends every request with kError.
  void fail_all(const std::string& error);
  // One more token for each running answer, and a piece of the prompts. Returns whether there is
  // more to do.
  bool step();
  // Serves one request to its end; context.cancel ends it with kCancelled, also within the prompt.
  // Throws Error for kError, and what on_token throws.
  RequestResult run(Request request, const RunContext& context = {});

  EngineStats stats() const;

  // Tokens of prompts in one step: fewer where answers wait for it.
  static constexpr int64_t kPromptRows = RuntimeModel::kPromptRows, kPromptRowsBeside = 64;

 private:
  struct Waiting {
    RequestId id;
    Request request;
    std::chrono::steady_clock::time_point submitted;
  };
  struct Sequence;
  using SequencePointer = std::unique_ptr<Sequence>;

  int64_t positions_of(const Request& request) const;
  bool shares(const Request& request) const;
  void admit();
  bool fits(const Request& request) const;
  void start(Waiting waiting);
  void generate_step();
  void prompt_step();
  // Runs the rows; where that fails, their sequences end with kError, and false is returned.
  bool forward(const std::vector<TokenStep>& rows, Products products,
               const std::vector<Sequence*>& sequences);
  void add_prompt_probabilities(Sequence& sequence, std::span<const float> hidden);
  // Samples the next token of each sequence from its final hidden state [sequences, hidden_size].
  void sample(const std::vector<Sequence*>& sequences, std::span<const float> hidden);
  void take_token(Sequence& sequence, GeneratedToken token);
  void finish(Sequence& sequence, FinishReason reason, const std::string& error = {});
  void report(Request& request, RequestResult& result);
  std::span<const float> sampled_logits(size_t row) const;
  std::span<const float> constrained_logits(Sequence& sequence, size_t row) const;

  RuntimeModel& model_;
  EngineOptions options_;
  bool answers_as_prompts_;  // RuntimeModel::same_as_prompts()
  std::shared_ptr<KvPool> pool_;
  FairQueue<Waiting> queue_;
  std::vector<SequencePointer> sequences_;  // in the order of their start
  RequestId next_id_ = 0;
  EngineStats stats_;
  std::vector<float> hidden_, logits_;  // work space of a step
};

}  // namespace bitsmith
