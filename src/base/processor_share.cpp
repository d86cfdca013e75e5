#include "base/processor_share.h"

#include <algorithm>

#include "base/error.h"

namespace bitsmith {

int fair_threads(const ProcessorShare& share) {
  return std::clamp(share.together / share.processes, 1, std::max(1, share.own));
}

std::string thread_share_warning(const ProcessorShare& share, int threads) {
  constexpr int kOneCore = 2;  // processors: it may have two
  constexpr const char* kBinding =
      "; mpirun binds each process to one core unless it is told otherwise: give --bind-to none";
  if (threads > share.own) {
    return concat("each process has ", threads, " threads and is bound to ", share.own,
                  share.own == 1 ? " processor" : " processors", kBinding);
  }
  if (share.processes > 1 && threads * share.processes > share.together) {
    return concat(share.processes, " processes of ", threads, threads == 1 ? " thread" : " threads",
                  " share ", share.together, share.together == 1 ? " processor" : " processors",
                  " and wait for each other: start fewer",
                  threads > 1 ? ", or leave --threads out" : "");
  }
  const int fair = share.machine / share.processes;
  if (share.own <= kOneCore && fair >= 2 * share.own) {
    return concat("each process is bound to ", share.own,
                  share.own == 1 ? " processor" : " processors", ", and the machine has ", fair,
                  " for each", kBinding);
  }
  return "";
}

}  // namespace bitsmith
