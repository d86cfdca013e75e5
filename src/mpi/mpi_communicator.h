// Ranks that mpirun or srun started, on one machine or many.
#pragma once
#include <memory>

#include "base/communicator.h"
#include "base/processor_share.h"

namespace bitsmith {

// All processes of the launch; MPI begins with it. At most one in the life of a process, which ends
// by end().
class MpiCommunicator : public Communicator {
 public:
  // Error where MPI does not start.
  MpiCommunicator();

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_size() const override { return local_size_; }
  void barrier() override;
  void sum(std::span<double> values) override;
  void broadcast(std::span<std::byte> bytes, int from) override;
  std::unique_ptr<Transfer> send(std::span<const std::byte> bytes, int to, int tag) override;
  std::unique_ptr<Transfer> receive(std::span<std::byte> bytes, int from, int tag) override;

  // Of the ranks of this machine. Collective.
  ProcessorShare processor_share();

  // Ends MPI: with code 0 after all ranks have come here, with another code by ending them all.
  [[noreturn]] void end(int code);

 private:
  int rank_ = 0, size_ = 1, local_size_ = 1;
};

}  // namespace bitsmith
