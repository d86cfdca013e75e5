// Who waits, and who is next: clients take turns, and each client's items keep their order, so that
// a client with a thousand requests does not hold up one with a single request.
#pragma once
#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>

#include "base/error.h"

namespace bitsmith {

template <typename Item>
class FairQueue {
 public:
  void push(const std::string& client, Item item) {
    const auto found =
        std::ranges::find_if(clients_, [&](const Client& c) { return c.name == client; });
    Client& own = found != clients_.end() ? *found : clients_.emplace_back(Client{client, {}});
    own.items.push_back(std::move(item));
    ++size_;
  }
  bool empty() const { return size_ == 0; }
  int64_t size() const { return size_; }
  Item& front() { return clients_.front().items.front(); }
  // Removes front(); its client goes behind the others.
  Item pop() {
    BITSMITH_CHECK(!empty());
    Client client = std::move(clients_.front());
    clients_.pop_front();
    Item item = std::move(client.items.front());
    client.items.pop_front();
    if (!client.items.empty()) clients_.push_back(std::move(client));
    --size_;
    return item;
  }
  // Removes the first item for which `wanted` holds, in no particular order of clients, and hands
  // it to `take`; false: there is none.
  template <typename Wanted, typename Take>
  bool remove(const Wanted& wanted, const Take& take) {
    for (auto client = clients_.begin(); client != clients_.end(); ++client) {
      const auto found = std::ranges::find_if(client->items, wanted);
      if (found == client->items.end()) continue;
      Item item = std::move(*found);
      client->items.erase(found);
      if (client->items.empty()) clients_.erase(client);
      --size_;
      take(std::move(item));
      return true;
    }
    return false;
  }

 private:
  struct Client {
    std::string name;
    std::deque<Item> items;  // never empty
  };
  std::deque<Client> clients_;  // in the order of their turns
  int64_t size_ = 0;
};

}  // namespace bitsmith
