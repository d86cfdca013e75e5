// Every kernel of the program as function pointers, filled from the lowest instruction set up: a
// level keeps what it does not replace.
#pragma once
#include "kernels/additive_gather.h"
#include "kernels/additive_lookup.h"
#include "kernels/cpu_features.h"
#include "kernels/dense_gemv.h"
#include "kernels/gvq_gemv.h"
#include "kernels/gvq_lookup.h"
#include "kernels/machine_limits.h"
#include "kernels/panel_gemm.h"
#include "kernels/uniform_gemv.h"

namespace bitsmith {

struct KernelTable {
  Isa isa = Isa::scalar;
  DenseGemvKernels dense;
  UniformGemvKernels uniform;
  AdditiveGatherKernels gather;
  AdditiveLookupKernels lookup;
  GvqGemvKernels gvq;
  GvqLookupKernels gvq_lookup;
  PanelGemmKernels gemm;
  LimitKernels limits;
};

// The table of one level, which this processor must support (tests compare levels).
KernelTable make_kernel_table(Isa isa);
// The table of selected_isa().
const KernelTable& kernels();

}  // namespace bitsmith
