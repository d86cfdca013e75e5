#include "compressor/model/fused_ops.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "kernels/kernel_table.h"

namespace bitsmith {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

constexpr int64_t kRowsPerTask = 64;
constexpr int64_t kValuesPerTask = 1 << 15;

bool has_fused_loops(const torch::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == torch::kFloat32 || x.scalar_type() == torch::kBFloat16);
}

template <typename T>
T* pointer(const torch::Tensor& x) {
  return static_cast<T*>(x.data_ptr());
}

// Calls body(T{}) with T = float or uint16_t, the stored form of the tensor's values.
template <typename Body>
void with_stored_type(const torch::Tensor& x, const Body& body) {
  if (x.scalar_type() == torch::kFloat32) {
    body(float{});
  } else {
    body(uint16_t{});
  }
}

// The kernels for T.
template <typename T, typename Float32, typename BFloat16>
const auto& kernels_for(const Float32& float32, const BFloat16& bfloat16) {
  if constexpr (std::is_same_v<T, float>) {
    return float32;
  } else {
    return bfloat16;
  }
}
template <typename T>
const RmsNormKernels<T>& rms_norm_kernels() {
  return kernels_for<T>(kernels().norms.rms, kernels().norms.rms_bf16);
}
template <typename T>
const SiluMulKernels<T>& silu_mul_kernels() {
  return kernels_for<T>(kernels().activations.silu_mul, kernels().activations.silu_mul_bf16);
}

struct RmsNormFunction : Function<RmsNormFunction> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight, double eps, bool one_plus_weight) {
    const torch::Tensor x = input.contiguous();
    const int64_t features = x.size(-1), rows = x.numel() / features;
    torch::Tensor y = torch::empty_like(x), inverse_rms = torch::empty({rows}, torch::kFloat32);
    with_stored_type(x, [&]<typename T>(T) {
      at::parallel_for(0, rows, kRowsPerTask, [&](int64_t begin, int64_t end) {
        rms_norm_kernels<T>().forward(pointer<T>(x) + begin * features, pointer<T>(weight),
                                      one_plus_weight, end - begin, features,
                                      static_cast<float>(eps), pointer<T>(y) + begin * features,
                                      pointer<float>(inverse_rms) + begin);
      });
    });
    context->save_for_backward({x, weight, inverse_rms});
    context->saved_data["one_plus_weight"] = one_plus_weight;
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const tensor_list saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1], &inverse_rms = saved[2];
    const torch::Tensor dy = gradients[0].contiguous();
    const int64_t features = x.size(-1), rows = x.numel() / features;
    // Partial sums of fixed groups of rows: the result does not depend on the number of threads.
    const int64_t tasks = (rows + kRowsPerTask - 1) / kRowsPerTask;
    const bool wants_dweight = context->needs_input_grad(1);
    const bool one_plus_weight = context->saved_data["one_plus_weight"].toBool();
    torch::Tensor dx = torch::empty_like(x), partial;
    if (wants_dweight) partial = torch::zeros({tasks, features}, torch::kFloat32);
    with_stored_type(x, [&]<typename T>(T) {
      at::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
          const int64_t first = task * kRowsPerTask, count = std::min(kRowsPerTask, rows - first);
          rms_norm_kernels<T>().backward(
              pointer<T>(x) + first * features, pointer<T>(weight), one_plus_weight,
              pointer<float>(inverse_rms) + first, pointer<T>(dy) + first * features, count,
              features, pointer<T>(dx) + first * features,
              wants_dweight ? pointer<float>(partial) + task * features : nullptr);
        }
      });
    });
    return {dx, wants_dweight ? partial.sum(0).to(weight.scalar_type()) : torch::Tensor(),
            torch::Tensor(), torch::Tensor()};
  }
};

struct SiluMulFunction : Function<SiluMulFunction> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& gate_input,
                               const torch::Tensor& up_input) {
    const torch::Tensor gate = gate_input.contiguous(), up = up_input.contiguous();
    torch::Tensor y = torch::empty_like(gate);
    with_stored_type(gate, [&]<typename T>(T) {
      at::parallel_for(0, gate.numel(), kValuesPerTask, [&](int64_t begin, int64_t end) {
        silu_mul_kernels<T>().forward(pointer<T>(gate) + begin, pointer<T>(up) + begin, end - begin,
                                      pointer<T>(y) + begin);
      });
    });
    context->save_for_backward({gate, up});
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const tensor_list saved = context->get_saved_variables();
    const torch::Tensor &gate = saved[0], &up = saved[1];
    const torch::Tensor dy = gradients[0].contiguous();
    torch::Tensor dgate = torch::empty_like(gate), dup = torch::empty_like(up);
    with_stored_type(gate, [&]<typename T>(T) {
      at::parallel_for(0, gate.numel(), kValuesPerTask, [&](int64_t begin, int64_t end) {
        silu_mul_kernels<T>().backward(pointer<T>(gate) + begin, pointer<T>(up) + begin,
                                       pointer<T>(dy) + begin, end - begin,
                                       pointer<T>(dgate) + begin, pointer<T>(dup) + begin);
      });
    });
    return {dgate, dup};
  }
};

// Rotating back is rotating by the opposite angle.
torch::Tensor rotate(const torch::Tensor& input, const torch::Tensor& cos, const torch::Tensor& sin,
                     bool back) {
  const torch::Tensor x = input.contiguous();
  const int64_t rows = x.size(0) * x.size(1), length = x.size(1), heads = x.size(2),
                head_dim = x.size(3), half = cos.size(1);
  torch::Tensor y = torch::empty_like(x);
  with_stored_type(x, [&]<typename T>(T) {
    at::parallel_for(0, rows, kRowsPerTask, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t position = row % length;
        const auto turn = kernels_for<T>(kernels().rope.f32, kernels().rope.bf16);
        turn({.cos = pointer<float>(cos) + position * half,
              .sin = pointer<float>(sin) + position * half,
              .heads = heads,
              .head_dim = head_dim,
              .half = half,
              .sign = back ? -1.0f : 1.0f},
             pointer<T>(x) + row * heads * head_dim, pointer<T>(y) + row * heads * head_dim);
      }
    });
  });
  return y;
}

struct RotaryFunction : Function<RotaryFunction> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& cos, const torch::Tensor& sin) {
    context->save_for_backward({cos, sin});
    return rotate(x, cos, sin, /*back=*/false);
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const tensor_list saved = context->get_saved_variables();
    return {rotate(gradients[0], saved[0], saved[1], /*back=*/true), torch::Tensor(),
            torch::Tensor()};
  }
};

}  // namespace

torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& weight, double eps,
                       bool one_plus_weight) {
  if (has_fused_loops(x)) return RmsNormFunction::apply(x, weight, eps, one_plus_weight);
  const torch::Tensor wide = x.to(torch::kFloat32);
  const torch::Tensor normed = wide * (wide.square().mean(-1, true) + eps).rsqrt();
  if (one_plus_weight) return (normed * (1 + weight.to(torch::kFloat32))).to(x.scalar_type());
  return weight * normed.to(x.scalar_type());
}

torch::Tensor silu_mul(const torch::Tensor& gate, const torch::Tensor& up) {
  if (has_fused_loops(gate)) return SiluMulFunction::apply(gate, up);
  return torch::silu(gate) * up;
}

torch::Tensor apply_rotary(const torch::Tensor& x, const RotaryTable& rotary) {
  if (has_fused_loops(x)) return RotaryFunction::apply(x, rotary.cos, rotary.sin);
  const int64_t pairs = rotary.cos.size(1), rest = x.size(3) - 2 * pairs;
  const torch::Tensor low = x.narrow(-1, 0, pairs), high = x.narrow(-1, pairs, pairs);
  const torch::Tensor cos = rotary.cos.unsqueeze(1), sin = rotary.sin.unsqueeze(1);
  const torch::Tensor turned =
      torch::cat({low * cos - high * sin, high * cos + low * sin}, -1).to(x.scalar_type());
  return rest > 0 ? torch::cat({turned, x.narrow(-1, 2 * pairs, rest)}, -1) : turned;
}

}  // namespace bitsmith
