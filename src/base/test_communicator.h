// What every Communicator must do. Called by all of its ranks.
#pragma once
#include <numeric>
#include <stdexcept>
#include <vector>

#include "base/communicator.h"

namespace bitsmith::test_ranks {

inline void require(bool condition, const char* what) {
  if (!condition) throw std::runtime_error(what);
}

inline void check_sums(Communicator& ranks) {
  const int size = ranks.size(), rank = ranks.rank();
  for (const size_t count : {0, 1, 1000}) {
    std::vector<double> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = static_cast<double>(i) + rank;
    ranks.sum(values);
    for (size_t i = 0; i < count; ++i)
      require(values[i] == static_cast<double>(i) * size + size * (size - 1) / 2, "a sum is wrong");
  }
  // An element of each rank stays as it is.
  std::vector<double> thirds(static_cast<size_t>(size));
  thirds[static_cast<size_t>(rank)] = (rank + 1) / 3.0;
  ranks.sum(thirds);
  for (int i = 0; i < size; ++i)
    require(thirds[static_cast<size_t>(i)] == (i + 1) / 3.0, "a sum with zeros is rounded");
  require(!ranks.any(false), "any() of none");
  require(ranks.any(rank == size - 1), "any() of one");
}

inline void check_broadcasts(Communicator& ranks) {
  for (int from = 0; from < ranks.size(); ++from) {
    require(ranks.broadcast_value(100 + ranks.rank(), from) == 100 + from, "a value is another's");
    const std::string own(static_cast<size_t>(3 * ranks.rank()), 'x');
    require(ranks.broadcast_text(own, from).size() == static_cast<size_t>(3 * from),
            "a text is another's");
  }
  const std::vector<std::string> texts = ranks.gather_texts(std::to_string(ranks.rank()));
  require(texts.size() == static_cast<size_t>(ranks.first() ? ranks.size() : 0),
          "texts are missing");
  for (size_t i = 0; i < texts.size(); ++i)
    require(texts[i] == std::to_string(i), "texts are in another order");
}

// Each rank sends to the next one in a circle: two messages with one tag, in order, the second
// without bytes; one with another tag, which is received first; a large one; and one that does not
// fill its room.
inline void check_messages(Communicator& ranks) {
  const int size = ranks.size(), rank = ranks.rank();
  if (size == 1) return;
  const int next = (rank + 1) % size, before = (rank + size - 1) % size;
  const std::vector<int> numbers = {rank, 10 * rank}, large(1 << 20, rank);
  const std::vector<std::byte> one(1);
  std::vector<std::unique_ptr<Transfer>> sent;
  sent.push_back(ranks.send(std::as_bytes(std::span(numbers)), next, 7));
  sent.push_back(ranks.send({}, next, 7));
  sent.push_back(ranks.send(one, next, 8));
  sent.push_back(ranks.send(std::as_bytes(std::span(large)), next, 9));
  sent.push_back(ranks.send(std::as_bytes(std::span(numbers)), next, 10));
  std::vector<std::byte> other(1);
  ranks.receive(other, before, 8)->wait();
  std::vector<int> came(2), came_large(large.size()), roomy(5, -1);
  const auto receive = [&](std::vector<int>& room, int tag) {
    const auto transfer = ranks.receive(std::as_writable_bytes(std::span(room)), before, tag);
    while (!transfer->done()) {
    }
    return transfer->bytes();
  };
  require(receive(came, 7) == 2 * sizeof(int), "a message has another length");
  require(came == std::vector<int>({before, 10 * before}), "a message is another one");
  require(receive(came, 7) == 0, "a message without bytes is not one");
  require(receive(came_large, 9) == came_large.size() * sizeof(int), "a large message is cut");
  require(came_large.front() == before && came_large.back() == before, "a large message differs");
  require(receive(roomy, 10) == 2 * sizeof(int), "a message has the length of its room");
  require(roomy == std::vector<int>({before, 10 * before, -1, -1, -1}), "a short message differs");
  for (const auto& transfer : sent) transfer->wait();
}

inline void check_communicator(Communicator& ranks) {
  require(ranks.rank() >= 0 && ranks.rank() < ranks.size(), "a rank beyond the size");
  require(ranks.local_size() >= 1 && ranks.local_size() <= ranks.size(), "a machine of others");
  ranks.barrier();
  check_sums(ranks);
  check_broadcasts(ranks);
  check_messages(ranks);
  ranks.barrier();
}

}  // namespace bitsmith::test_ranks
