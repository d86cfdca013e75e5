#include "server/metrics.h"

#include <sstream>

namespace bitsmith {
namespace {

class Exposition {
 public:
  // `help` is one line.
  void begin(const std::string& name, const char* type, const char* help) {
    name_ = "bitsmith_" + name;
    out_ << "# HELP " << name_ << " " << help << "\n# TYPE " << name_ << " " << type << "\n";
  }
  template <typename T>
  void sample(const T& value, const std::string& labels = "") {
    out_ << name_ << labels << " " << value << "\n";
  }
  template <typename T>
  void metric(const std::string& name, const char* type, const char* help, const T& value) {
    begin(name, type, help);
    sample(value);
  }
  std::string text() const { return out_.str(); }

 private:
  std::ostringstream out_;
  std::string name_;
};

}  // namespace

void Metrics::count_response(const std::string& route, int status) {
  const std::lock_guard lock(mutex_);
  ++responses_[{route, status}];
}

std::string Metrics::text(const EngineStats& engine) const {
  Exposition out;
  out.begin("http_responses_total", "counter", "Responses by route and status.");
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, count] : responses_)
      out.sample(count, concat("{route=\"", key.first, "\",status=\"", key.second, "\"}"));
  }
  out.begin("requests_finished_total", "counter", "Requests by the reason of their end.");
  for (size_t i = 0; i < engine.finished.size(); ++i)
    out.sample(engine.finished[i],
               concat("{reason=\"", finish_reason_name(static_cast<FinishReason>(i)), "\"}"));
  out.metric("requests_running", "gauge", "Requests that are read or answered.", engine.running);
  out.metric("requests_waiting", "gauge", "Requests in the queue.", engine.waiting);
  out.metric("prompt_tokens_total", "counter", "Tokens of prompts that were run.",
             engine.prompt_tokens);
  out.metric("prompt_shared_tokens_total", "counter",
             "Tokens of prompts whose keys and values were there already.", engine.shared_tokens);
  out.metric("generated_tokens_total", "counter", "Tokens of answers.", engine.generated_tokens);
  out.metric("prompt_seconds_total", "counter", "Time in which prompts were run.",
             engine.prompt_seconds);
  out.metric("generate_seconds_total", "counter", "Time in which answers were generated.",
             engine.generate_seconds);
  out.begin("kv_pages", "gauge", "Pages of keys and values: of all, held by requests, kept.");
  out.sample(engine.kv_pages, "{state=\"all\"}");
  out.sample(engine.kv_pages_held, "{state=\"held\"}");
  out.sample(engine.kv_pages_kept, "{state=\"kept\"}");
  return out.text();
}

}  // namespace bitsmith
