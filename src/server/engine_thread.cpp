#include "server/engine_thread.h"

#include <exception>
#include <future>
#include <memory>

namespace bitsmith {
namespace {

constexpr const char* kStopping = "the server is stopping";

}  // namespace

EngineThread::EngineThread(Engine& engine) : engine_(engine), stats_(engine.stats()) {
  thread_ = std::thread([this] { loop(); });
}

EngineThread::~EngineThread() { stop(); }

void EngineThread::run(const Task& task) {
  // Of both threads: the one that waits must not take it away from the one that sets it.
  const auto done = std::make_shared<std::promise<void>>();
  std::future<void> end = done->get_future();
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) throw EngineStopped(kStopping);
    tasks_.push_back([&task, done](Engine& engine) {
      try {
        task(engine);
        done->set_value();
      } catch (...) {
        done->set_exception(std::current_exception());
      }
    });
  }
  wake_.notify_one();
  end.get();
}

void EngineThread::post(Task task) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    tasks_.push_back(std::move(task));
  }
  wake_.notify_one();
}

EngineStats EngineThread::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void EngineThread::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

bool EngineThread::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void EngineThread::loop() {
  bool busy = false;
  for (;;) {
    std::deque<Task> tasks;
    bool stopping;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return busy || stopping_ || !tasks_.empty(); });
      tasks.swap(tasks_);
      stopping = stopping_;
    }
    // Whoever waits for a task gets an answer, also at the end.
    for (const Task& task : tasks) task(engine_);
    if (stopping) engine_.fail_all(kStopping);
    try {
      busy = engine_.step();
    } catch (const std::exception& error) {  // memory ran out
      engine_.fail_all(error_message(error));
      busy = false;
    }
    const EngineStats stats = engine_.stats();
    const std::lock_guard lock(mutex_);
    stats_ = stats;
    if (stopping) return;
  }
}

}  // namespace bitsmith
