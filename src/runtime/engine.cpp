#include "runtime/engine.h"

#include <algorithm>
#include <chrono>
#include <exception>

namespace bitsmith {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

struct Engine::Sequence {
  Sequence(Waiting waiting, std::shared_ptr<KvPool> pool, int64_t positions)
      : id(waiting.id),
        request(std::move(waiting.request)),
        cache(std::move(pool), positions),
        positions(positions),
        sampler(request.sampling, request.seed, request.stream) {
    result.queue_seconds = seconds_since(waiting.submitted);
  }
  bool reads_prompt() const { return cache.length() < std::ssize(request.prompt); }
  // Pages that it will still take.
  int64_t pages_to_come() const { return KvPool::pages_for(positions) - std::ssize(cache.pages()); }

  RequestId id;
  Request request;
  KvCache cache;
  int64_t positions;  // that it may come to have
  Sampler sampler;
  RequestResult result;
  bool keeps_pages = false;
  bool finished = false;
  int32_t next = -1;  // token of the answer that is to be run
  std::vector<TokenProbabilities> prompt_probabilities;
  Clock::time_point started = Clock::now(), first_token;
};

Engine::Engine(RuntimeModel& model, const EngineOptions& options)
    : model_(model), options_(options) {
  BITSMITH_CHECK(options_.context > 0 && options_.max_batch > 0);
  const int64_t vocab_size = model.plan().vocab_size;
  if (options_.vocab_size <= 0 || options_.vocab_size > vocab_size)
    options_.vocab_size = vocab_size;
  if (options_.kv_pages <= 0)
    options_.kv_pages = options_.max_batch * KvPool::pages_for(options_.context);
  pool_ = std::make_shared<KvPool>(model.plan(), options_.kv_pages, options_.kv_type);
}

Engine::~Engine() = default;

// The last token of an answer needs no place.
int64_t Engine::positions_of(const Request& request) const {
  return std::min(options_.context,
                  std::ssize(request.prompt) + std::max<int64_t>(0, request.max_tokens - 1));
}

// Kept keys are of use only while the sequence rotates its keys as they were.
bool Engine::shares(const Request& request) const {
  return options_.reuse != Reuse::kOff && !request.prompt_probabilities &&
         rope_class(model_.plan(), std::ssize(request.prompt)) ==
             rope_class(model_.plan(), positions_of(request));
}

RequestId Engine::submit(Request request) {
  const int64_t tokens = std::ssize(request.prompt);
  if (tokens == 0) throw RequestError("the prompt is empty");
  if (tokens > options_.context) {
    throw RequestTooLong(concat("the prompt has ", tokens, " tokens, but the context holds ",
                                options_.context, ": shorten it or use a larger context"));
  }
  for (const int32_t token : request.prompt) {
    if (token < 0 || token >= model_.plan().vocab_size)
      throw RequestError(concat("token id ", token, " is outside the model's vocabulary of ",
                                model_.plan().vocab_size, " entries"));
  }
  if (const int64_t pages = KvPool::pages_for(positions_of(request)); pages > pool_->pages()) {
    throw RequestTooLong(concat(
        "a prompt of ", tokens, " tokens and an answer of up to ", request.max_tokens,
        " need keys and values of ", pages * KvPool::kPage, " tokens, but there is memory for ",
        pool_->pages() * KvPool::kPage, ": ask for a shorter answer, or give more memory"));
  }
  check(request.sampling);
  if (request.likeliest)
    request.likeliest = std::clamp<int64_t>(*request.likeliest, 0, options_.vocab_size);
  const RequestId id = next_id_++;
  const std::string client = request.client;
  queue_.push(client, Waiting{id, std::move(request), Clock::now()});
  return id;
}

void Engine::cancel(RequestId id) {
  const bool waited = queue_.remove([&](const Waiting& w) { return w.id == id; },
                                    [&](Waiting waiting) {
                                      RequestResult result;
                                      result.reason = FinishReason::kCancelled;
                                      result.queue_seconds = seconds_since(waiting.submitted);
                                      report(waiting.request, result);
                                    });
  if (waited) return;
  for (const SequencePointer& sequence : sequences_)
    if (sequence->id == id) finish(*sequence, FinishReason::kCancelled);
  std::erase_if(sequences_, [](const SequencePointer& s) { return s->finished; });
}

void Engine::fail_all(const std::string& error) {
  while (!queue_.empty()) {
    Waiting waiting = queue_.pop();
    RequestResult result;
    result.reason = FinishReason::kError;
    result.error = error;
    report(waiting.request, result);
  }
  for (const SequencePointer& sequence : sequences_) finish(*sequence, FinishReason::kError, error);
  sequences_.clear();
}

bool Engine::step() {
  admit();
  generate_step();
  prompt_step();
  std::erase_if(sequences_, [](const SequencePointer& s) { return s->finished; });
  return !queue_.empty() || !sequences_.empty();
}

RequestResult Engine::run(Request request, const RunContext& context) {
  std::optional<RequestResult> result;
  std::exception_ptr thrown;
  if (request.on_token) {
    request.on_token = [on_token = std::move(request.on_token), &thrown](const GeneratedToken& t) {
      try {
        return on_token(t);
      } catch (...) {
        thrown = std::current_exception();
        return false;
      }
    };
  }
  request.on_finish = [&](const RequestResult& r) { result = r; };
  const RequestId id = submit(std::move(request));
  try {
    while (!result) {
      if (context.cancelled())
        cancel(id);
      else
        step();
    }
  } catch (...) {  // memory ran out; the callbacks end with this call
    cancel(id);
    throw;
  }
  if (thrown) std::rethrow_exception(thrown);
  if (result->reason == FinishReason::kError) throw Error(result->error);
  return *result;
}

EngineStats Engine::stats() const {
  EngineStats stats = stats_;
  stats.waiting = queue_.size();
  stats.running = std::ssize(sequences_);
  stats.kv_pages = pool_->pages();
  stats.kv_pages_held = pool_->held_pages();
  stats.kv_pages_kept = pool_->kept_pages();
  return stats;
}

// Who is next waits until there is room: smaller requests do not overtake it for ever.
void Engine::admit() {
  while (!queue_.empty() && std::ssize(sequences_) < options_.max_batch &&
         fits(queue_.front().request)) {
    start(queue_.pop());
  }
}

// Every page that a sequence may come to need is counted from its start: none is ever stopped
// halfway for want of memory.
bool Engine::fits(const Request& request) const {
  int64_t pages = pool_->held_pages() + KvPool::pages_for(positions_of(request));
  for (const SequencePointer& sequence : sequences_) pages += sequence->pages_to_come();
  if (shares(request)) {
    const auto root = PrefixIndex::root(rope_class(model_.plan(), std::ssize(request.prompt)));
    pages -=
        KvCache::held_prefix_pages(*pool_, root, request.prompt, std::ssize(request.prompt) - 1);
  }
  return pages <= pool_->pages();
}

void Engine::start(Waiting waiting) {
  const int64_t positions = positions_of(waiting.request);
  auto sequence = std::make_unique<Sequence>(std::move(waiting), pool_, positions);
  const std::vector<int32_t>& prompt = sequence->request.prompt;
  sequence->cache.rope_length = std::ssize(prompt);
  sequence->keeps_pages = shares(sequence->request);
  if (sequence->keeps_pages) {
    // The last token is run in any case: its logits are wanted.
    sequence->cache.share_prefix(PrefixIndex::root(rope_class(model_.plan(), std::ssize(prompt))),
                                 prompt, std::ssize(prompt) - 1);
  }
  sequence->result.shared_tokens = sequence->cache.length();
  stats_.shared_tokens += sequence->cache.length();
  sequences_.push_back(std::move(sequence));
}

void Engine::generate_step() {
  std::vector<Sequence*> running;
  std::vector<TokenStep> rows;
  for (const SequencePointer& sequence : sequences_) {
    if (sequence->finished || sequence->reads_prompt()) continue;
    running.push_back(sequence.get());
    rows.push_back({sequence->next, &sequence->cache});
  }
  if (rows.empty()) return;
  const auto start = Clock::now();
  if (forward(rows, options_.products, running)) {
    const bool same_numbers = options_.products == model_.prompt_products();
    for (Sequence* sequence : running) {
      if (sequence->keeps_pages && (same_numbers || options_.reuse == Reuse::kAnswers))
        sequence->cache.keep_pages(sequence->cache.length(), same_numbers);
    }
    sample(running, hidden_);
  }
  stats_.generate_seconds += seconds_since(start);
}

void Engine::prompt_step() {
  std::vector<Sequence*> readers;
  for (const SequencePointer& sequence : sequences_)
    if (!sequence->finished && sequence->reads_prompt()) readers.push_back(sequence.get());
  if (readers.empty()) return;
  const auto start = Clock::now();
  const auto left = [](const Sequence* s) {
    return std::ssize(s->request.prompt) - s->cache.length();
  };
  // Each gets the same share; what a short one does not need is the others'.
  std::ranges::stable_sort(readers, std::less(), left);
  const bool beside = std::ranges::any_of(
      sequences_, [](const SequencePointer& s) { return !s->finished && !s->reads_prompt(); });
  int64_t budget = beside ? kPromptRowsBeside : kPromptRows;
  std::vector<TokenStep> rows;
  std::vector<int64_t> counts;
  for (size_t i = 0; i < readers.size(); ++i) {
    const auto others = static_cast<int64_t>(readers.size() - i);
    counts.push_back(std::min(left(readers[i]), std::max<int64_t>(1, budget / others)));
    budget -= counts.back();
    for (int64_t t = 0; t < counts.back(); ++t) {
      const auto place = static_cast<size_t>(readers[i]->cache.length() + t);
      rows.push_back({readers[i]->request.prompt[place], &readers[i]->cache});
    }
  }
  if (!forward(rows, model_.prompt_products(), readers)) return;
  const auto width = static_cast<size_t>(model_.plan().hidden_size);
  std::vector<Sequence*> complete;
  std::vector<float> last;
  size_t end = 0;
  for (size_t i = 0; i < readers.size(); ++i) {
    Sequence& sequence = *readers[i];
    const std::span<const float> hidden =
        std::span(hidden_).subspan(end * width, static_cast<size_t>(counts[i]) * width);
    end += static_cast<size_t>(counts[i]);
    sequence.result.prompt_tokens += counts[i];
    stats_.prompt_tokens += counts[i];
    if (sequence.keeps_pages) sequence.cache.keep_pages(sequence.cache.length(), true);
    if (sequence.request.prompt_probabilities) add_prompt_probabilities(sequence, hidden);
    if (sequence.reads_prompt()) continue;
    sequence.result.prompt_seconds = seconds_since(sequence.started);
    sequence.first_token = Clock::now();
    if (sequence.request.on_prompt) sequence.request.on_prompt(sequence.prompt_probabilities);
    if (sequence.request.max_tokens <= 0) {
      finish(sequence, FinishReason::kMaxTokens);
      continue;
    }
    complete.push_back(&sequence);
    last.insert(last.end(), hidden.end() - static_cast<int64_t>(width), hidden.end());
  }
  sample(complete, last);
  stats_.prompt_seconds += seconds_since(start);
}

bool Engine::forward(const std::vector<TokenStep>& rows, Products products,
                     const std::vector<Sequence*>& sequences) {
  hidden_.resize(rows.size() * static_cast<size_t>(model_.plan().hidden_size));
  try {
    model_.forward(rows, products, hidden_);
    return true;
  } catch (const std::exception& error) {
    for (Sequence* sequence : sequences)
      finish(*sequence, FinishReason::kError, error_message(error));
    return false;
  }
}

// hidden [rows, hidden_size], of the last rows of the prompt that were run.
void Engine::add_prompt_probabilities(Sequence& sequence, std::span<const float> hidden) {
  constexpr int64_t kRows = 16;  // at a time, so that their logits stay few
  const std::vector<int32_t>& prompt = sequence.request.prompt;
  const int64_t width = model_.plan().hidden_size, count = std::ssize(hidden) / width;
  const int64_t first = sequence.cache.length() - count;
  // The logits of the prompt's last token are of the answer.
  const int64_t wanted = std::min(count, std::ssize(prompt) - 1 - first);
  for (int64_t row = 0; row < wanted; row += kRows) {
    const int64_t rows = std::min(kRows, wanted - row);
    logits_.resize(static_cast<size_t>(rows * model_.plan().vocab_size));
    model_.logits(
        hidden.subspan(static_cast<size_t>(row * width), static_cast<size_t>(rows * width)),
        model_.prompt_products(), logits_);
    for (int64_t r = 0; r < rows; ++r) {
      // A prompt may name rows beyond the tokenizer's.
      const auto next = prompt[static_cast<size_t>(first + row + r + 1)];
      const auto vocab = static_cast<size_t>(model_.plan().vocab_size);
      const auto logits =
          std::span<const float>(logits_).subspan(static_cast<size_t>(r) * vocab, vocab);
      sequence.prompt_probabilities.push_back(token_probabilities(
          next < options_.vocab_size ? sampled_logits(static_cast<size_t>(r)) : logits, next,
          sequence.request.likeliest.value_or(0)));
    }
  }
}

std::span<const float> Engine::sampled_logits(size_t row) const {
  return std::span(logits_).subspan(row * static_cast<size_t>(model_.plan().vocab_size),
                                    static_cast<size_t>(options_.vocab_size));
}

void Engine::sample(const std::vector<Sequence*>& sequences, std::span<const float> hidden) {
  if (sequences.empty()) return;
  struct Sampled {
    GeneratedToken token;
    std::string error;
  };
  std::vector<Sampled> sampled(sequences.size());
  logits_.resize(sequences.size() * static_cast<size_t>(model_.plan().vocab_size));
  model_.logits(hidden, options_.products, logits_);
  model_.pool().run(std::ssize(sequences), [&](int64_t i) {
    const auto row = static_cast<size_t>(i);
    Sequence& sequence = *sequences[row];
    GeneratedToken& token = sampled[row].token;
    try {
      token.token = sequence.sampler.sample(sampled_logits(row), sequence.cache.tokens());
      if (sequence.request.likeliest)
        token.probabilities =
            token_probabilities(sampled_logits(row), token.token, *sequence.request.likeliest);
    } catch (const std::exception& error) {
      sampled[row].error = error_message(error);
    }
  });
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (sampled[i].error.empty())
      take_token(*sequences[i], std::move(sampled[i].token));
    else
      finish(*sequences[i], FinishReason::kError, sampled[i].error);
  }
}

void Engine::take_token(Sequence& sequence, GeneratedToken token) {
  const Request& request = sequence.request;
  token.ends = std::ranges::find(request.end_tokens, token.token) != request.end_tokens.end();
  if (!token.ends) {
    sequence.result.tokens.push_back(token.token);
    ++stats_.generated_tokens;
  }
  const bool goes_on = !request.on_token || request.on_token(token);
  if (token.ends) {
    finish(sequence, FinishReason::kEndToken);
  } else if (!goes_on) {
    finish(sequence, FinishReason::kStopped);
  } else if (std::ssize(sequence.result.tokens) >= request.max_tokens) {
    finish(sequence, FinishReason::kMaxTokens);
  } else if (sequence.cache.length() == sequence.cache.capacity()) {
    finish(sequence, FinishReason::kContextFull);
  } else {
    sequence.next = token.token;
  }
}

void Engine::finish(Sequence& sequence, FinishReason reason, const std::string& error) {
  if (sequence.finished) return;
  sequence.finished = true;
  sequence.result.reason = reason;
  sequence.result.error = error;
  if (sequence.first_token != Clock::time_point())
    sequence.result.generate_seconds = seconds_since(sequence.first_token);
  else
    sequence.result.prompt_seconds = seconds_since(sequence.started);
  sequence.cache.truncate(0);  // its pages are free from now on
  report(sequence.request, sequence.result);
}

void Engine::report(Request& request, RequestResult& result) {
  ++stats_.finished[static_cast<size_t>(result.reason)];
  if (request.on_finish) request.on_finish(result);
}

}  // namespace bitsmith
