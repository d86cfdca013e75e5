// Every kernel of the runtime as function pointers, filled from the lowest instruction set up: a
// level keeps what it does not replace.
#pragma once
#include "runtime/kernels/additive_gather.h"
#include "runtime/kernels/additive_lookup.h"
#include "runtime/kernels/cpu_features.h"
#include "runtime/kernels/dense_gemv.h"
#include "runtime/kernels/gvq_gemv.h"
#include "runtime/kernels/gvq_lookup.h"
#include "runtime/kernels/machine_limits.h"
#include "runtime/kernels/panel_gemm.h"
#include "runtime/kernels/uniform_gemv.h"

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
