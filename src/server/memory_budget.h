// Memory that the requests of a server share, counted in bytes.
#pragma once
#include <atomic>
#include <cstdint>
#include <utility>

namespace bitsmith {

// Any thread may call anything.
class MemoryBudget {
 public:
  explicit MemoryBudget(int64_t bytes) : bytes_(bytes) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  int64_t taken() const { return taken_; }
  // False: there is not so much left, and nothing was taken.
  bool take(int64_t bytes) {
    int64_t taken = taken_;
    do {
      if (bytes > bytes_ - taken) return false;
    } while (!taken_.compare_exchange_weak(taken, taken + bytes));
    return true;
  }
  void give_back(int64_t bytes) { taken_ -= bytes; }

 private:
  const int64_t bytes_;
  std::atomic<int64_t> taken_ = 0;
};

// What one request has of the budget, which outlives it.
class MemoryShare {
 public:
  MemoryShare() = default;  // of nothing: grows without a limit
  explicit MemoryShare(MemoryBudget& budget) : budget_(&budget) {}
  MemoryShare(MemoryShare&& other) noexcept
      : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  MemoryShare& operator=(MemoryShare&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MemoryShare() { release(); }

  bool grow(int64_t bytes) {
    if (budget_ != nullptr && !budget_->take(bytes)) return false;
    bytes_ += bytes;
    return true;
  }
  void release() {
    if (budget_ != nullptr) budget_->give_back(bytes_);
    bytes_ = 0;
  }

 private:
  MemoryBudget* budget_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace bitsmith
