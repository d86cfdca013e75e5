#include "base/mapping_faults.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <string_view>
#include <utility>

namespace bitsmith {

// Slots are reused and never freed, so that the handler can walk the list at any moment.
struct MappingRegistration::Slot {
  std::atomic<bool> taken{true};
  std::atomic<uintptr_t> begin{0}, end{0};  // end 0: nothing is registered
  std::atomic<const char*> path{nullptr};
  Slot* next = nullptr;
};

struct MappingTable {
  using Slot = MappingRegistration::Slot;
  std::atomic<Slot*> first{nullptr};

  Slot* take() {
    for (Slot* slot = first.load(); slot; slot = slot->next) {
      if (!slot->taken.exchange(true)) return slot;
    }
    auto* slot = new Slot;
    slot->next = first.load();
    while (!first.compare_exchange_weak(slot->next, slot)) {
    }
    return slot;
  }

  const char* path_of(uintptr_t address) const {
    for (const Slot* slot = first.load(); slot; slot = slot->next) {
      if (slot->begin.load() <= address && address < slot->end.load()) return slot->path.load();
    }
    return nullptr;
  }
};

namespace {

constinit MappingTable table;

// Only what may be called in a signal handler, here and below.
void say(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
    if (n <= 0) return;
    text.remove_prefix(static_cast<size_t>(n));
  }
}

void on_bus_error(int, siginfo_t* info, void*) {
  const char* path = info->si_code > 0  // by the processor, not by kill(2)
                         ? table.path_of(reinterpret_cast<uintptr_t>(info->si_addr))
                         : nullptr;
  if (!path) {
    ::signal(SIGBUS, SIG_DFL);
    ::raise(SIGBUS);  // comes when this handler returns
    return;
  }
  if (::isatty(STDERR_FILENO)) say("\n");  // a line of progress may stand there
  say("bitsmith: cannot read ");
  for (; *path; ++path) {  // a file's name may hold anything
    const auto c = static_cast<unsigned char>(*path);
    say(c < ' ' || c == 127 ? std::string_view("?") : std::string_view(path, 1));
  }
  say(": the file was truncated while it was read, or its disk failed\n");
  ::_exit(1);
}

}  // namespace

void install_mapping_fault_handler() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &action, nullptr);
}

MappingRegistration::MappingRegistration(const void* data, size_t size, const char* path)
    : slot_(table.take()) {
  slot_->path = path;
  slot_->begin = reinterpret_cast<uintptr_t>(data);
  slot_->end = reinterpret_cast<uintptr_t>(data) + size;
}

MappingRegistration::~MappingRegistration() {
  if (!slot_) return;
  slot_->end = 0;
  slot_->taken = false;
}

MappingRegistration& MappingRegistration::operator=(MappingRegistration&& other) noexcept {
  std::swap(slot_, other.slot_);
  return *this;
}

}  // namespace bitsmith
