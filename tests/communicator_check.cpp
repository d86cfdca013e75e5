// What a Communicator must do, done by the ranks that mpirun starts: mpirun -n N
// communicator_check.
#include <cstdio>
#include <exception>

#include "base/test_communicator.h"
#include "mpi/mpi_communicator.h"

int main() {
  bitsmith::MpiCommunicator ranks;
  try {
    bitsmith::test_ranks::check_communicator(ranks);
    bitsmith::test_ranks::require(bitsmith::fair_threads(ranks.processor_share()) >= 1,
                                  "no threads");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rank %d of %d: %s\n", ranks.rank(), ranks.size(), error.what());
    ranks.end(1);
  }
  if (ranks.first()) std::printf("%d ranks agree\n", ranks.size());
  std::fflush(stdout);
  ranks.end(0);
}
