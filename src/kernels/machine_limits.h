// What this machine can do at most, measured: the other side of every speed ratio.
// Included by files of an instruction set: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

class ThreadPool;

struct LimitKernels {
  // Reads `bytes` (a multiple of 512) from a 64-byte boundary; returns their sum as 64-bit words.
  uint64_t (*read)(const void* data, int64_t bytes);
  // `rounds` rounds of independent float32 multiply-adds in registers, `flops` operations a round.
  float (*multiply_add)(int64_t rounds);
  int64_t flops;
  // The same with int8 numbers that are added up in int32, as int8_gemm.h multiplies.
  int32_t (*multiply_add_int8)(int64_t rounds);
  int64_t int8_operations;
};

void fill_scalar(LimitKernels& kernels);
void fill_avx2(LimitKernels& kernels);
void fill_avxvnni(LimitKernels& kernels);
void fill_avx512(LimitKernels& kernels);
void fill_neon(LimitKernels& kernels);

// Seconds by which speeds and limits are compared: the processor time of the caller when it works
// alone, because other work on the machine disturbs that least, else the time of day.
double limit_seconds(const ThreadPool& pool);

// Bytes a second that the pool's threads read together from a buffer of `bytes`, the best of some
// passes over about half a second. A processor's caches may be larger than they seem: take at least
// a gibibyte for main memory.
double read_bandwidth(ThreadPool& pool, int64_t bytes);
// float32 operations a second (a multiply-add is two) of all threads together, likewise.
double multiply_add_rate(ThreadPool& pool);
// The same of int8 operations.
double int8_multiply_add_rate(ThreadPool& pool);

}  // namespace bitsmith
