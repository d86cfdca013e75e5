// The engine has one thread; the requests of a server come from many. Work for the engine is done
// between its steps.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "runtime/engine.h"

namespace bitsmith {

// The thread takes no more work.
class EngineStopped : public Error {
 public:
  using Error::Error;
};

class EngineThread {
 public:
  // The engine outlives this, and nobody else uses it.
  explicit EngineThread(Engine& engine);
  ~EngineThread();  // stop()
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;

  using Task = std::function<void(Engine&)>;
  // Runs the task in the engine's thread and waits for it; throws what it throws, and EngineStopped
  // where the thread has stopped. From any other thread.
  void run(const Task& task);
  // Runs the task later, unless the thread stops before. The task does not throw.
  void post(Task task);
  // As they were after the last step. From any thread.
  EngineStats stats() const;
  // Fails all requests and ends the thread. Twice is once.
  void stop();
  bool stopping() const;  // stop() was called. From any thread.

 private:
  void loop();

  Engine& engine_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> tasks_;
  EngineStats stats_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace bitsmith
