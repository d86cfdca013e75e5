// Ranks that are threads of one process: what tests need of a Communicator.
#pragma once
#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <functional>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

#include "base/communicator.h"

namespace bitsmith::test_ranks {

// Where they meet. Once a rank has failed, the others' calls throw LostRank.
class RankHall {
 public:
  explicit RankHall(int size) : size_(size) {}

  int size() const { return size_; }

  void fail() {
    const std::lock_guard lock(mutex_);
    failed_ = true;
    changed_.notify_all();
  }

  // `leave` is called by each rank when all have called `enter`, and none begins the next meeting
  // before all have left.
  void meet(const std::function<void()>& enter, const std::function<void()>& leave) {
    std::unique_lock lock(mutex_);
    enter();
    wait_for_all(lock);
    leave();
    wait_for_all(lock);
  }

  std::vector<double> sums;     // of a meeting
  std::vector<std::byte> said;  // of a broadcast

  struct Message {
    int from, to, tag;
    std::vector<std::byte> bytes;
  };
  void post(Message message) {
    const std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
    changed_.notify_all();
  }
  // The oldest message for `to`; false where there is none and nobody waits for it.
  bool take(int from, int to, int tag, bool wait, std::vector<std::byte>& bytes) {
    std::unique_lock lock(mutex_);
    for (;;) {
      for (auto it = messages_.begin(); it != messages_.end(); ++it) {
        if (it->from != from || it->to != to || it->tag != tag) continue;
        bytes = std::move(it->bytes);
        messages_.erase(it);
        return true;
      }
      if (failed_) throw LostRank("another rank was lost");
      if (!wait) return false;
      changed_.wait(lock);
    }
  }
  bool empty() {
    const std::lock_guard lock(mutex_);
    return messages_.empty();
  }

 private:
  void wait_for_all(std::unique_lock<std::mutex>& lock) {
    const int64_t own = turn_;
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++turn_;
      changed_.notify_all();
      return;
    }
    changed_.wait(lock, [&] { return turn_ != own || failed_; });
    if (turn_ == own) throw LostRank("another rank was lost");
  }

  const int size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  int64_t turn_ = 0;
  bool failed_ = false;
  std::list<Message> messages_;
};

class ThreadRank : public Communicator {
 public:
  ThreadRank(RankHall& hall, int rank) : hall_(hall), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return hall_.size(); }
  int local_size() const override { return hall_.size(); }

  void barrier() override {
    hall_.meet([] {}, [] {});
  }
  void sum(std::span<double> values) override {
    hall_.meet(
        [&] {
          hall_.sums.resize(values.size());  // zeros, as the last meeting left none
          for (size_t i = 0; i < values.size(); ++i) hall_.sums[i] += values[i];
        },
        [&] { std::copy(hall_.sums.begin(), hall_.sums.end(), values.begin()); });
    hall_.meet([&] { hall_.sums.clear(); }, [] {});
  }
  void broadcast(std::span<std::byte> bytes, int from) override {
    hall_.meet(
        [&] {
          if (rank_ == from) hall_.said.assign(bytes.begin(), bytes.end());
        },
        [&] {
          BITSMITH_CHECK(hall_.said.size() == bytes.size());
          std::copy(hall_.said.begin(), hall_.said.end(), bytes.begin());
        });
  }
  std::unique_ptr<Transfer> send(std::span<const std::byte> bytes, int to, int tag) override {
    hall_.post({rank_, to, tag, {bytes.begin(), bytes.end()}});
    return std::make_unique<Sent>();
  }
  std::unique_ptr<Transfer> receive(std::span<std::byte> bytes, int from, int tag) override {
    return std::make_unique<Received>(hall_, bytes, from, rank_, tag);
  }

 private:
  struct Sent : Transfer {
    bool done() override { return true; }
    void wait() override {}
    size_t bytes() const override { return 0; }
  };
  class Received : public Transfer {
   public:
    Received(RankHall& hall, std::span<std::byte> room, int from, int to, int tag)
        : hall_(hall), room_(room), from_(from), to_(to), tag_(tag) {}
    bool done() override { return there_ || take(false); }
    void wait() override {
      if (!there_) take(true);
    }
    size_t bytes() const override { return bytes_; }

   private:
    bool take(bool wait) {
      std::vector<std::byte> bytes;
      there_ = hall_.take(from_, to_, tag_, wait, bytes);
      if (!there_) return false;
      BITSMITH_CHECK(bytes.size() <= room_.size());
      std::copy(bytes.begin(), bytes.end(), room_.begin());
      bytes_ = bytes.size();
      return true;
    }

    RankHall& hall_;
    std::span<std::byte> room_;
    int from_, to_, tag_;
    bool there_ = false;
    size_t bytes_ = 0;
  };

  RankHall& hall_;
  int rank_;
};

// Runs body(communicator) on `size` ranks, and throws what the first of them that failed threw:
// what it was that ended the run, not that the others lost it. All messages must have been
// received.
inline void run_ranks(int size, const std::function<void(Communicator&)>& body) {
  RankHall hall(size);
  std::mutex mutex;
  std::exception_ptr failure;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        ThreadRank communicator(hall, rank);
        body(communicator);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
        hall.fail();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
  BITSMITH_CHECK(hall.empty());
}

}  // namespace bitsmith::test_ranks
