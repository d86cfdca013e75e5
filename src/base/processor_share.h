// Threads for each of the processes that share a machine.
#pragma once
#include <string>

namespace bitsmith {

struct ProcessorShare {
  int processes = 1;  // of the run on this machine
  int own = 1;        // processors that this process is bound to
  int together = 1;   // those that any of the processes is bound to, within their control group
  int machine = 1;    // all of the machine, within the control group
};

// Worker threads for this process: its share of the processors that the processes have together,
// and no more than it is bound to. At least 1.
int fair_threads(const ProcessorShare& share);

// Why `threads` threads in this process are slow, and the way out; empty where they are not: more
// threads than the process is bound to, or than there are for all; or processes that are bound to
// far fewer processors than the machine has for each.
std::string thread_share_warning(const ProcessorShare& share, int threads);

}  // namespace bitsmith
