#include "mpi/mpi_communicator.h"

#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <thread>
#include <vector>

#include "base/cgroup.h"

namespace bitsmith {
namespace {

constexpr size_t kAtOnce = size_t{1} << 28;  // MPI counts with int: larger arrays go in pieces

// Errors come back as codes, see the constructor.
void check_mpi(int code) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw LostRank(concat("another process of this run was lost, or the network to it (",
                        std::string(text, static_cast<size_t>(length)),
                        "); what was saved stays: the same command goes on from there"));
}

// Until done(), which lets messages go on. A short wait spins. A rank that waits longer, for
// another that works alone for minutes, leaves its processors to that one: MPI's own waits spin at
// full load.
template <typename Done>
void wait_until(const Done& done) {
  constexpr auto kShort = std::chrono::milliseconds(5);
  constexpr auto kPause = std::chrono::microseconds(200);
  const auto start = std::chrono::steady_clock::now();
  while (!done()) {
    if (std::chrono::steady_clock::now() - start < kShort)
      ::sched_yield();
    else
      std::this_thread::sleep_for(kPause);
  }
}

// Of a collective call that has begun.
void wait_for(MPI_Request request) {
  wait_until([&] {
    int flag = 0;
    check_mpi(MPI_Test(&request, &flag, MPI_STATUS_IGNORE));
    return flag != 0;
  });
}

// f(data, count) for pieces of `values`; one without values where there are none.
template <typename T, typename F>
void in_pieces(std::span<T> values, const F& f) {
  do {
    const auto piece = values.first(std::min(kAtOnce, values.size()));
    f(piece.data(), static_cast<int>(piece.size()));
    values = values.subspan(piece.size());
  } while (!values.empty());
}

// A message goes in pieces, of which the last alone is not full: it may have no bytes.
class MpiSend : public Transfer {
 public:
  MpiSend(std::span<const std::byte> bytes, int to, int tag) : bytes_(bytes.size()) {
    size_t size = 0;
    do {
      size = std::min(kAtOnce, bytes.size());
      check_mpi(MPI_Isend(bytes.data(), static_cast<int>(size), MPI_BYTE, to, tag, MPI_COMM_WORLD,
                          &requests_.emplace_back(MPI_REQUEST_NULL)));
      bytes = bytes.subspan(size);
    } while (size == kAtOnce);
  }
  bool done() override {
    int flag = 0;
    check_mpi(MPI_Testall(count(), requests_.data(), &flag, MPI_STATUSES_IGNORE));
    return flag != 0;
  }
  void wait() override {
    wait_until([&] { return done(); });
  }
  size_t bytes() const override { return bytes_; }

 private:
  int count() const { return static_cast<int>(requests_.size()); }

  size_t bytes_;
  std::vector<MPI_Request> requests_;
};

// A piece is asked for when the one before it has come.
class MpiReceive : public Transfer {
 public:
  MpiReceive(std::span<std::byte> room, int from, int tag) : room_(room), from_(from), tag_(tag) {
    ask();
  }
  bool done() override {
    while (!done_) {
      int flag = 0;
      MPI_Status status;
      check_mpi(MPI_Test(&request_, &flag, &status));
      if (!flag) return false;
      take(status);
    }
    return true;
  }
  void wait() override {
    wait_until([&] { return done(); });
  }
  size_t bytes() const override { return came_; }

 private:
  void ask() {
    const auto piece = room_.subspan(came_, std::min(kAtOnce, room_.size() - came_));
    check_mpi(MPI_Irecv(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, from_, tag_,
                        MPI_COMM_WORLD, &request_));
  }
  void take(const MPI_Status& status) {
    int count = 0;
    check_mpi(MPI_Get_count(&status, MPI_BYTE, &count));
    came_ += static_cast<size_t>(count);
    done_ = static_cast<size_t>(count) < kAtOnce;
    if (!done_) ask();
  }

  std::span<std::byte> room_;
  int from_, tag_;
  size_t came_ = 0;
  bool done_ = false;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

// Ends with the object.
class MachineCommunicator {
 public:
  MachineCommunicator() {
    check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &own_));
  }
  ~MachineCommunicator() { MPI_Comm_free(&own_); }
  MachineCommunicator(const MachineCommunicator&) = delete;
  operator MPI_Comm() const { return own_; }

 private:
  MPI_Comm own_ = MPI_COMM_NULL;
};

}  // namespace

MpiCommunicator::MpiCommunicator() {
  int level = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &level) != MPI_SUCCESS)
    throw Error("MPI does not start");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if (level < MPI_THREAD_SERIALIZED)
    throw Error("this MPI allows no threads beside the one that started it: use another");
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank_));
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size_));
  const MachineCommunicator machine;
  check_mpi(MPI_Comm_size(machine, &local_size_));
}

void MpiCommunicator::barrier() {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibarrier(MPI_COMM_WORLD, &request));
  wait_for(request);
}

void MpiCommunicator::sum(std::span<double> values) {
  in_pieces(values, [](double* data, int count) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(
        MPI_Iallreduce(MPI_IN_PLACE, data, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD, &request));
    wait_for(request);
  });
}

void MpiCommunicator::broadcast(std::span<std::byte> bytes, int from) {
  in_pieces(bytes, [&](std::byte* data, int count) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Ibcast(data, count, MPI_BYTE, from, MPI_COMM_WORLD, &request));
    wait_for(request);
  });
}

std::unique_ptr<Transfer> MpiCommunicator::send(std::span<const std::byte> bytes, int to, int tag) {
  return std::make_unique<MpiSend>(bytes, to, tag);
}

std::unique_ptr<Transfer> MpiCommunicator::receive(std::span<std::byte> bytes, int from, int tag) {
  return std::make_unique<MpiReceive>(bytes, from, tag);
}

ProcessorShare MpiCommunicator::processor_share() {
  cpu_set_t own, all;
  CPU_ZERO(&own);
  if (::sched_getaffinity(0, sizeof(own), &own) != 0)  // more processors than a set has: not bound
    for (size_t i = 0; i < CPU_SETSIZE; ++i) CPU_SET(i, &own);
  const MachineCommunicator machine;
  check_mpi(MPI_Allreduce(&own, &all, sizeof(own), MPI_BYTE, MPI_BOR, machine));
  const CgroupLimits limits = cgroup_limits();
  const double most =
      std::min(static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN)), std::ceil(limits.cpus));
  const auto at_most = [&](double processors) {
    return std::max(1, static_cast<int>(std::min(processors, most)));
  };
  return {.processes = local_size_,
          .own = at_most(CPU_COUNT(&own)),
          .together = at_most(CPU_COUNT(&all)),
          .machine = at_most(limits.processors)};
}

void MpiCommunicator::end(int code) {
  if (code != 0) MPI_Abort(MPI_COMM_WORLD, code);
  MPI_Finalize();
  std::exit(code);
}

}  // namespace bitsmith
