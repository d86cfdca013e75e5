#include "base/communicator.h"

#include <unistd.h>

#include <algorithm>
#include <climits>
#include <exception>
#include <numeric>

namespace bitsmith {
namespace {

class OneProcess : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int local_size() const override { return 1; }
  void barrier() override {}
  void sum(std::span<double>) override {}
  void broadcast(std::span<std::byte>, int from) override { BITSMITH_CHECK(from == 0); }
  // There is nobody to talk to.
  std::unique_ptr<Transfer> send(std::span<const std::byte>, int, int) override {
    BITSMITH_CHECK(size() > 1);
    return nullptr;
  }
  std::unique_ptr<Transfer> receive(std::span<std::byte>, int, int) override {
    BITSMITH_CHECK(size() > 1);
    return nullptr;
  }
};

constexpr int kTextTag = 0;

}  // namespace

Communicator& Communicator::alone() {
  static OneProcess instance;
  return instance;
}

bool Communicator::any(bool here) {
  double yes = here ? 1 : 0;
  sum({&yes, 1});
  return yes > 0;
}

std::string Communicator::broadcast_text(const std::string& text, int from) {
  std::string all = rank() == from ? text : std::string();
  all.resize(broadcast_value(all.size(), from));
  broadcast(std::as_writable_bytes(std::span(all)), from);
  return all;
}

std::vector<std::string> Communicator::gather_texts(const std::string& text) {
  std::vector<double> lengths(static_cast<size_t>(size()));
  lengths[static_cast<size_t>(rank())] = static_cast<double>(text.size());
  sum(lengths);
  if (!first()) {
    send(std::as_bytes(std::span(text)), 0, kTextTag)->wait();
    return {};
  }
  std::vector<std::string> all = {text};
  for (int from = 1; from < size(); ++from) {
    all.emplace_back(static_cast<size_t>(lengths[static_cast<size_t>(from)]), '\0');
    receive(std::as_writable_bytes(std::span(all.back())), from, kTextTag)->wait();
  }
  return all;
}

void check_together(Communicator& ranks, const std::function<void()>& check) {
  if (ranks.size() == 1) return check();
  std::exception_ptr own;
  std::string reason;
  try {
    check();
  } catch (const Error& error) {
    own = std::current_exception();
    reason = concat("process ", ranks.rank(), " of ", ranks.size(), ", on ", machine_name(), ": ",
                    error.what());
  }
  std::vector<double> refused(static_cast<size_t>(ranks.size()));
  refused[static_cast<size_t>(ranks.rank())] = own ? 1 : 0;
  ranks.sum(refused);
  const auto lowest = std::ranges::find_if(refused, [](double r) { return r > 0; });
  if (lowest == refused.end()) return;
  reason = ranks.broadcast_text(reason, static_cast<int>(lowest - refused.begin()));
  if (own) std::rethrow_exception(own);
  throw Error(reason);
}

std::string machine_name() {
  char name[HOST_NAME_MAX + 1] = {};
  return ::gethostname(name, sizeof(name) - 1) == 0 ? name : "unknown machine";
}

std::vector<int> deal_by_size(std::span<const double> sizes, int ranks) {
  BITSMITH_CHECK(ranks >= 1);
  std::vector<size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return sizes[a] > sizes[b]; });
  std::vector<double> loads(static_cast<size_t>(ranks));
  std::vector<int> owners(sizes.size());
  for (const size_t i : order) {
    const auto least = std::min_element(loads.begin(), loads.end());
    *least += sizes[i];
    owners[i] = static_cast<int>(least - loads.begin());
  }
  return owners;
}

Share share_of(int64_t count, int rank, int ranks) {
  return {count * rank / ranks, count * (rank + 1) / ranks};
}

}  // namespace bitsmith
