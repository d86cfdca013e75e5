// The processes that mpirun or srun started together. Here alone the program knows of MPI.
#pragma once
#include <functional>
#include <string>

#include "apps/command.h"

namespace bitsmith {

// Runs `work`, which all ranks then do together; one process where no launcher started more. On
// ranks other than the first there is no progress and no message but that of an error which the
// first does not have. Throws what `work` throws, and UsageError where several processes were
// started and this program was built without MPI.
void run_on_all_ranks(const CommonOptions& options,
                      const std::function<void(const RunContext&)>& work);

// UsageError where several processes were started for a `command` that is work of one.
void refuse_ranks(const std::string& command);

// For the end of main(), with the exit code: an error on one rank ends them all.
int end_ranks(int code);

}  // namespace bitsmith
