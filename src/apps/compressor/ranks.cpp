#include "apps/compressor/ranks.h"

#ifdef BITSMITH_MPI
#include "mpi/mpi_communicator.h"
#endif

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <thread>

#include "base/log.h"
#include "base/thread_pool.h"

namespace bitsmith {
namespace {

// Whether a launcher of MPI made this process: Open MPI's, Slurm's and others' by PMIx, MPICH's.
bool was_launched() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"})
    if (std::getenv(name) != nullptr) return true;
  return false;
}

// How many it made, where it says so: Open MPI's, MPICH's, Slurm.
int launched_processes() {
  if (!was_launched()) return 1;
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"})
    if (const char* text = std::getenv(name)) return std::atoi(text);
  return 1;
}

#ifdef BITSMITH_MPI

std::unique_ptr<MpiCommunicator>& ranks() {
  static std::unique_ptr<MpiCommunicator> instance;
  return instance;
}

// What goes wrong mostly goes wrong everywhere: rank 0 says so and ends the others, at once. The
// last to speak is the rank that alone has the error.
void let_the_first_speak() {
  constexpr auto kItsTime = std::chrono::seconds(3);
  const bool interrupted = interrupt_flag().raised();
  const auto end = std::chrono::steady_clock::now() + kItsTime;
  while (std::chrono::steady_clock::now() < end) {
    if (!interrupted && interrupt_flag().raised()) std::_Exit(1);  // the launcher ends the run
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

#endif

}  // namespace

void refuse_ranks(const std::string& command) {
  if (launched_processes() > 1)
    throw UsageError(concat(command, " is work of one process, and ", launched_processes(),
                            " were started together: start it alone, or use quantize and tune"));
}

#ifdef BITSMITH_MPI

void run_on_all_ranks(const CommonOptions& options,
                      const std::function<void(const RunContext&)>& work) {
  RunContext context = run_context(options);
  if (!was_launched()) return work(context);
  ranks() = std::make_unique<MpiCommunicator>();
  MpiCommunicator& mpi = *ranks();
  context.communicator = &mpi;
  const ProcessorShare share = mpi.processor_share();
  if (options.threads == 0) context.threads = std::min(fair_threads(share), default_threads());
  if (mpi.first()) {
    log_info(concat(mpi.size(), " processes, ", mpi.local_size(), " on this machine, with ",
                    context.threads, " threads each"));
    const std::string warning = thread_share_warning(share, context.threads);
    if (!warning.empty()) log_warning(warning);
    return work(context);
  }
  context.progress = nullptr;
  set_log_sink({});
  try {
    work(context);
  } catch (...) {
    let_the_first_speak();
    say(Severity::kWarning,
        concat("process ", mpi.rank(), " of ", mpi.size(), ", on ", machine_name(), ", fails:"));
    throw;
  }
}

int end_ranks(int code) {
  if (ranks()) ranks()->end(code);
  return code;
}

#else

void run_on_all_ranks(const CommonOptions& options,
                      const std::function<void(const RunContext&)>& work) {
  if (launched_processes() > 1)
    throw UsageError(
        concat(launched_processes(), " processes were started together, and this program was ",
               "built without MPI: install libopenmpi-dev and openmpi-bin and build it again, or ",
               "start one process"));
  work(run_context(options));
}

int end_ranks(int code) { return code; }

#endif

}  // namespace bitsmith
