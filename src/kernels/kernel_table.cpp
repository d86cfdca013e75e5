#include "kernels/kernel_table.h"

#include "base/error.h"

namespace bitsmith {

KernelTable make_kernel_table(Isa isa) {
  BITSMITH_CHECK(cpu_supports(isa));
  KernelTable table;
  table.isa = isa;
  fill_scalar(table.bfloat16);
  fill_scalar(table.norms);
  fill_scalar(table.activations);
  fill_scalar(table.rope);
  fill_scalar(table.softmax);
  fill_scalar(table.attention);
  fill_scalar(table.attention_backward);
  fill_scalar(table.search);
  fill_scalar(table.dense);
  fill_scalar(table.uniform);
  fill_scalar(table.gather);
  fill_scalar(table.lookup);
  fill_scalar(table.gvq);
  fill_scalar(table.gvq_lookup);
  fill_scalar(table.gvq_bundle);
  fill_scalar(table.e8p);
  fill_scalar(table.gemm);
  fill_scalar(table.int8_gemm);
  fill_scalar(table.limits);
#if defined(__x86_64__)
  if (isa != Isa::scalar) {
    fill_avx2(table.bfloat16);
    fill_avx2(table.norms);
    fill_avx2(table.activations);
    fill_avx2(table.rope);
    fill_avx2(table.softmax);
    fill_avx2(table.attention);
    fill_avx2(table.attention_backward);
    fill_avx2(table.search);
    fill_avx2(table.dense);
    fill_avx2(table.uniform);
    fill_avx2(table.gather);
    fill_avx2(table.gvq);
    fill_avx2(table.gvq_lookup);
    fill_avx2(table.gvq_bundle);
    fill_avx2(table.e8p);
    fill_avx2(table.gemm);
    fill_avx2(table.int8_gemm);
    fill_avx2(table.limits);
  }
  if (isa == Isa::avxvnni) {
    fill_avxvnni(table.uniform);
    fill_avxvnni(table.gvq_lookup);
    fill_avxvnni(table.gvq_bundle);
    fill_avxvnni(table.e8p);
    fill_avxvnni(table.int8_gemm);
    fill_avxvnni(table.limits);
  }
  if (isa == Isa::avx512 || isa == Isa::avx512vbmi) {
    fill_avx512(table.bfloat16);
    fill_avx512(table.norms);
    fill_avx512(table.activations);
    fill_avx512(table.rope);
    fill_avx512(table.softmax);
    fill_avx512(table.attention);
    fill_avx512(table.attention_backward);
    fill_avx512(table.search);
    fill_avx512(table.dense);
    fill_avx512(table.uniform);
    fill_avx512(table.lookup);
    fill_avx512(table.gvq);
    fill_avx512(table.gvq_lookup);
    fill_avx512(table.gvq_bundle);
    fill_avx512(table.e8p);
    fill_avx512(table.gemm);
    fill_avx512(table.int8_gemm);
    fill_avx512(table.limits);
  }
  if (isa == Isa::avx512vbmi) {
    fill_avx512vbmi(table.lookup);
    fill_avx512vbmi(table.gvq_lookup);
    fill_avx512vbmi(table.int8_gemm);
  }
#elif defined(__aarch64__)
  if (isa == Isa::neon) {
    fill_neon(table.bfloat16);
    fill_neon(table.norms);
    fill_neon(table.activations);
    fill_neon(table.rope);
    fill_neon(table.softmax);
    fill_neon(table.attention);
    fill_neon(table.attention_backward);
    fill_neon(table.search);
    fill_neon(table.dense);
    fill_neon(table.uniform);
    fill_neon(table.gather);
    fill_neon(table.lookup);
    fill_neon(table.gvq);
    fill_neon(table.gvq_lookup);
    fill_neon(table.e8p);
    fill_neon(table.gemm);
    fill_neon(table.int8_gemm);
    fill_neon(table.limits);
  }
#endif
  return table;
}

const KernelTable& kernels() {
  static const KernelTable table = make_kernel_table(selected_isa());
  return table;
}

}  // namespace bitsmith
