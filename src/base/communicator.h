// The processes that share one piece of work, and how they talk: MPI's ideas, as few of them as the
// work needs. Each process is a rank. The first one (rank 0) has the work folder, progress and
// results; the others compute. Code that does not care about ranks never sees this: one process
// talks to itself.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/error.h"

namespace bitsmith {

// Another rank was lost, or the network: nothing more can be done together.
class LostRank : public Error {
 public:
  using Error::Error;
};

// A message on its way. The bytes belong to it until it is done, and it lives until then.
class Transfer {
 public:
  virtual ~Transfer() = default;
  // Whether it is done; lets all messages of this rank go on. wait(): until it is.
  virtual bool done() = 0;
  virtual void wait() = 0;
  // Of a receive that is done: bytes that came, at most those that there was room for.
  virtual size_t bytes() const = 0;
};

// Collective calls (those without a partner) are made by all ranks in the same order, with the same
// sizes; each returns when this rank has its result. Everything may throw LostRank. From one thread
// at a time, the one that made it.
class Communicator {
 public:
  // One process: rank 0 of 1. Thread-safe.
  static Communicator& alone();

  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual int local_size() const = 0;  // ranks on this machine, which share its memory and cores
  bool first() const { return rank() == 0; }

  virtual void barrier() = 0;
  // The element-wise sum over all ranks, in place, the same bits everywhere. In which order is not
  // said: exact where only one rank's element is not zero.
  virtual void sum(std::span<double> values) = 0;
  // All ranks get the bytes of rank `from`.
  virtual void broadcast(std::span<std::byte> bytes, int from) = 0;
  // Messages from one rank to another with one tag (at least 0) arrive in the order of their
  // sending. A message may have no bytes; a receive has room for the largest that may come.
  virtual std::unique_ptr<Transfer> send(std::span<const std::byte> bytes, int to, int tag) = 0;
  virtual std::unique_ptr<Transfer> receive(std::span<std::byte> bytes, int from, int tag) = 0;

  // Made of these; collective.
  // Whether any rank says so.
  bool any(bool here);
  // Rank `from`'s.
  std::string broadcast_text(const std::string& text, int from = 0);
  // Rank 0 gets those of all ranks, in their order; the others nothing.
  std::vector<std::string> gather_texts(const std::string& text);
  template <typename T>
  T broadcast_value(T value, int from = 0) {
    static_assert(std::is_trivially_copyable_v<T>);
    broadcast(std::as_writable_bytes(std::span(&value, 1)), from);
    return value;
  }
};

// Runs `check` on all ranks, and lets none go on where it throws an Error on any: that rank throws
// it, and the others an Error that names the lowest such rank, its machine and its reason.
// Collective; `check` is not.
void check_together(Communicator& ranks, const std::function<void()>& check);

// The name of this machine, for messages.
std::string machine_name();

// Shares `sizes` out to `ranks` so that their sums are about equal: the largest first, each to the
// rank that has least so far (Graham 1969; at most 4/3 of the best largest sum). Equal ones go in
// their order, to the lowest rank. Returns the rank of each.
std::vector<int> deal_by_size(std::span<const double> sizes, int ranks);

// Neighboring ones of `count` things for each rank, as many as for others or one more: those of
// `rank` are [first, last).
struct Share {
  int64_t first = 0, last = 0;
  int64_t count() const { return last - first; }
};
Share share_of(int64_t count, int rank, int ranks);

}  // namespace bitsmith
