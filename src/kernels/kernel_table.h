// Every kernel of the program as function pointers, filled from the lowest instruction set up: a
// level keeps what it does not replace.
#pragma once
#include "kernels/activations.h"
#include "kernels/additive_gather.h"
#include "kernels/additive_lookup.h"
#include "kernels/attention.h"
#include "kernels/attention_backward.h"
#include "kernels/bfloat16.h"
#include "kernels/code_search.h"
#include "kernels/cpu_features.h"
#include "kernels/dense_gemv.h"
#include "kernels/e8p_gemv.h"
#include "kernels/gvq_bundle.h"
#include "kernels/gvq_gemv.h"
#include "kernels/gvq_lookup.h"
#include "kernels/int8_gemm.h"
#include "kernels/machine_limits.h"
#include "kernels/norms.h"
#include "kernels/panel_gemm.h"
#include "kernels/rope.h"
#include "kernels/softmax.h"
#include "kernels/uniform_gemv.h"

namespace bitsmith {

struct KernelTable {
  Isa isa = Isa::scalar;
  // Element by element, and along rows.
  BFloat16Kernels bfloat16;
  NormKernels norms;
  ActivationKernels activations;
  RopeKernels rope;
  SoftmaxKernels softmax;
  AttentionKernels attention;
  AttentionBackwardKernels attention_backward;
  // Searches for codes.
  SearchKernels search;
  // Products with weights.
  DenseGemvKernels dense;
  UniformGemvKernels uniform;
  AdditiveGatherKernels gather;
  AdditiveLookupKernels lookup;
  GvqGemvKernels gvq;
  GvqLookupKernels gvq_lookup;
  GvqBundleKernels gvq_bundle;
  E8pGemvKernels e8p;
  PanelGemmKernels gemm;
  Int8GemmKernels int8_gemm;
  LimitKernels limits;
};

// The table of one level, which this processor must support (tests compare levels).
KernelTable make_kernel_table(Isa isa);
// The table of selected_isa().
const KernelTable& kernels();

}  // namespace bitsmith
