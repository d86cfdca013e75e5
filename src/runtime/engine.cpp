// Who is served: the queue, the memory for keys and values, the beginning and the end of requests.
#include "runtime/engine.h"

#include <algorithm>
#include <exception>

#include "runtime/engine_sequence.h"

namespace bitsmith {

Engine::Engine(RuntimeModel& model, const EngineOptions& options)
    : model_(model),
      options_(options),
      answers_as_prompts_(model.same_as_prompts(options.products)) {
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
  queue_.push(client, Waiting{id, std::move(request), Sequence::Clock::now()});
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

void Engine::finish(Sequence& sequence, FinishReason reason, const std::string& error) {
  if (sequence.finished) return;
  sequence.finished = true;
  sequence.result.reason = reason;
  sequence.result.error = error;
  if (sequence.first_token != Sequence::Clock::time_point())
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
