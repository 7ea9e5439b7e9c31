// Registrations of pyramid_conv2d: a plan (core/pyramid.h) made here and run by
// its kernel on CUDA, by the loops that check the kernel on the CPU.
#include "csrc/core/conv/pyramid.h"

#include <ATen/DeviceGuard.h>
#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/SymBool.h>
#include <torch/library.h>

#include <vector>

#include "csrc/bind/checks.h"
#include "csrc/bind/conv/batched.h"
#include "csrc/bind/conv/for_each_index.h"
#include "csrc/cpu/conv/pyramid.h"

#ifdef WITH_CUDA
#include "csrc/bind/conv/atrous_cuda.h"
#include "csrc/cuda/conv/pyramid.h"
#endif

namespace deeplab {
namespace {

using c10::SymInt;

constexpr const char* kOp = "pyramid_conv2d";

struct Pyramid {
  at::TensorList inputs;
  at::TensorList weights;
  at::TensorList biases;
  at::IntArrayRef rates;
  bool summed;

  size_t branches() const { return weights.size(); }
  size_t outputs() const { return summed ? 1 : branches(); }
  const at::Tensor& input(size_t branch) const {
    return inputs[inputs.size() == 1 ? 0 : branch];
  }
};

void check_pyramid(const Pyramid& pyramid) {
  TORCH_CHECK(pyramid.branches() > 0, kOp, ": needs at least one weight");
  TORCH_CHECK(
      pyramid.inputs.size() == 1 || pyramid.inputs.size() == pyramid.branches(),
      kOp, ": inputs must be one or one per weight (", pyramid.branches(),
      "), got ", pyramid.inputs.size());
  TORCH_CHECK(pyramid.rates.size() == pyramid.branches(), kOp,
              ": rates must be one per weight (", pyramid.branches(), "), got ",
              pyramid.rates.size());
  TORCH_CHECK(
      pyramid.biases.empty() || pyramid.biases.size() == pyramid.outputs(), kOp,
      ": biases must be none or one per output (", pyramid.outputs(), "), got ",
      pyramid.biases.size());
  const at::Tensor& first_input = pyramid.inputs[0];
  const at::Tensor& first = pyramid.weights[0];
  check_dim(kOp, "inputs", first_input, 4, "[N, C, H, W]");
  check_dim(kOp, "weights", first, 4, "[F, C, k, k]");
  TORCH_SYM_CHECK(first.sym_size(2).sym_eq(first.sym_size(3)) &
                      (first.sym_size(2) % 2).sym_eq(1),
                  kOp, ": weights must be [F, C, k, k] with odd k, got ",
                  first.sym_sizes());
  TORCH_SYM_CHECK(first.sym_size(1).sym_eq(first_input.sym_size(1)), kOp,
                  ": weights must have the input's channels (",
                  first_input.sym_size(1), "), got ", first.sym_sizes());
  const auto check_alike = [&](const char* name, const at::Tensor& tensor,
                               const at::Tensor& like) {
    check_dim(kOp, name, tensor, like.dim(), "as the first one");
    check_same_dtype(kOp, name, tensor, "inputs", first_input);
    check_same_device(kOp, name, tensor, "inputs", first_input);
    for (int64_t axis = 0; axis < like.dim(); ++axis) {
      TORCH_SYM_CHECK(tensor.sym_size(axis).sym_eq(like.sym_size(axis)), kOp,
                      ": ", name, " must have equal sizes, got ",
                      tensor.sym_sizes(), " and ", like.sym_sizes());
    }
  };
  for (const at::Tensor& input : pyramid.inputs) {
    check_alike("inputs", input, first_input);
  }
  for (const at::Tensor& weight : pyramid.weights) {
    check_alike("weights", weight, first);
  }
  for (const at::Tensor& bias : pyramid.biases) {
    check_alike("biases", bias, pyramid.biases[0]);
    check_dim(kOp, "biases", bias, 1, "[F]");
    TORCH_SYM_CHECK(bias.sym_size(0).sym_eq(first.sym_size(0)), kOp,
                    ": biases must have one value per filter (",
                    first.sym_size(0), "), got ", bias.sym_sizes());
  }
  for (const int64_t rate : pyramid.rates) {
    TORCH_CHECK(rate > 0, kOp, ": rates must be positive, got ", rate);
  }
}

std::vector<at::Tensor> empty_outputs(const Pyramid& pyramid) {
  const at::Tensor& input = pyramid.inputs[0];
  std::vector<at::Tensor> outputs;
  for (size_t i = 0; i < pyramid.outputs(); ++i) {
    outputs.push_back(
        at::empty_symint({input.sym_size(0), pyramid.weights[0].sym_size(0),
                          input.sym_size(2), input.sym_size(3)},
                         input.options(), at::MemoryFormat::ChannelsLast));
  }
  return outputs;
}

PyramidPlan plan_of(const Pyramid& pyramid) {
  const at::Tensor& input = pyramid.inputs[0];
  const at::Tensor& weight = pyramid.weights[0];
  std::vector<Conv2dShape> shapes;
  for (const int64_t rate : pyramid.rates) {
    const int64_t kernel = weight.size(2);
    TORCH_CHECK(rate <= kMaxWindowValue / kernel, kOp,
                ": rates must be at most ", kMaxWindowValue / kernel, ", got ",
                rate);
    const int64_t padding = rate * (kernel / 2);
    Conv2dShape shape;
    shape.batch = input.size(0);
    shape.channels = input.size(1);
    shape.filters = weight.size(0);
    shape.window = {make_window_axis(input.size(2), kernel, 1, padding, rate),
                    make_window_axis(input.size(3), kernel, 1, padding, rate)};
    shapes.push_back(shape);
  }
  PyramidPlan plan;
  TORCH_CHECK(make_pyramid_plan(shapes, pyramid.summed, &plan), kOp,
              ": at most ", PyramidAxis::kMostBranches, " branches of at most ",
              PyramidAxis::kMostSegments,
              " segments an axis and 2^30 pixels, got ", pyramid.branches(),
              " branches of kernel ", weight.size(2), " on ", input.sizes());
  return plan;
}

// Arrays on which a plan works, and what keeps them alive.
template <typename T>
struct Held {
  PyramidArrays<T> arrays;
  std::vector<at::Tensor> tensors;

  const T* hold(const at::Tensor& tensor) {
    // Kernels read whole units.
    const auto address =
        reinterpret_cast<std::uintptr_t>(tensor.const_data_ptr());
    tensors.push_back(address % sizeof(Unit16) == 0 ? tensor : tensor.clone());
    return const_data_as<T>(tensors.back());
  }
};

template <typename T>
Held<T> hold(const Pyramid& pyramid, bool relu,
             const std::vector<at::Tensor>& outputs) {
  Held<T> held;
  for (size_t b = 0; b < pyramid.branches(); ++b) {
    held.arrays.inputs[b] = b > 0 && pyramid.inputs.size() == 1
                                ? held.arrays.inputs[0]
                                : held.hold(pyramid.input(b).contiguous(
                                      at::MemoryFormat::ChannelsLast));
    held.arrays.weights[b] =
        held.hold(batched_weight(pyramid.weights[b], 1, ConvPath::kDirect));
  }
  for (size_t o = 0; o < outputs.size(); ++o) {
    held.arrays.biases[o] = pyramid.biases.empty()
                                ? nullptr
                                : held.hold(pyramid.biases[o].contiguous());
    held.arrays.outputs[o] = data_as<T>(outputs[o]);
  }
  held.arrays.relu = relu;
  return held;
}

std::vector<at::Tensor> pyramid_cpu_kernel(at::TensorList inputs,
                                           at::TensorList weights,
                                           at::TensorList biases,
                                           at::IntArrayRef rates, bool summed,
                                           bool relu) {
  const Pyramid pyramid = {inputs, weights, biases, rates, summed};
  check_pyramid(pyramid);
  check_float_or_double(kOp, "inputs", inputs[0]);
  const std::vector<at::Tensor> outputs = empty_outputs(pyramid);
  if (outputs[0].numel() == 0) return outputs;
  const PyramidPlan plan = plan_of(pyramid);
  AT_DISPATCH_FLOATING_TYPES(inputs[0].scalar_type(), kOp, [&] {
    pyramid_cpu(plan, hold<scalar_t>(pyramid, relu, outputs).arrays);
  });
  return outputs;
}

std::vector<at::Tensor> pyramid_meta(at::TensorList inputs,
                                     at::TensorList weights,
                                     at::TensorList biases,
                                     at::IntArrayRef rates, bool summed,
                                     bool relu) {
  const Pyramid pyramid = {inputs, weights, biases, rates, summed};
  check_pyramid(pyramid);
  return empty_outputs(pyramid);
}

#ifdef WITH_CUDA
std::vector<at::Tensor> pyramid_cuda_kernel(at::TensorList inputs,
                                            at::TensorList weights,
                                            at::TensorList biases,
                                            at::IntArrayRef rates, bool summed,
                                            bool relu) {
  const Pyramid pyramid = {inputs, weights, biases, rates, summed};
  check_pyramid(pyramid);
  const at::Tensor& input = inputs[0];
  const auto type = input.scalar_type();
  TORCH_CHECK(
      type == at::kFloat || type == at::kHalf || type == at::kBFloat16, kOp,
      ": inputs must be float32, float16 or bfloat16 on CUDA, got ", type);
  const int64_t unit =
      static_cast<int64_t>(sizeof(Unit16)) / input.element_size();
  TORCH_CHECK(input.size(1) % unit == 0 && weights[0].size(0) % unit == 0, kOp,
              ": channels and filters must be multiples of ", unit, " in ",
              type, ", got ", input.size(1), " and ", weights[0].size(0));
  const at::OptionalDeviceGuard guard(at::device_of(input));
  const std::vector<at::Tensor> outputs = empty_outputs(pyramid);
  if (outputs[0].numel() == 0) return outputs;
  const PyramidPlan plan = plan_of(pyramid);
  const PyramidMath math = type == at::kFloat && !convolutions_use_tf32()
                               ? PyramidMath::kPlain
                               : PyramidMath::kTensor;
  const auto run = [&](auto value) {
    using T = decltype(value);
    const Held<T> held = hold<T>(pyramid, relu, outputs);
    check_cuda(kOp, pyramid_cuda(plan, held.arrays, math,
                                 c10::cuda::getCurrentCUDAStream()));
  };
  if (type == at::kFloat) {
    run(float());
  } else if (type == at::kHalf) {
    run(__half());
  } else {
    run(__nv_bfloat16());
  }
  return outputs;
}
#endif

}  // namespace

TORCH_LIBRARY_IMPL(deeplab, CPU, m) {
  m.impl("pyramid_conv2d", &pyramid_cpu_kernel);
}

#ifdef WITH_CUDA
TORCH_LIBRARY_IMPL(deeplab, CUDA, m) {
  m.impl("pyramid_conv2d", &pyramid_cuda_kernel);
}
#endif

TORCH_LIBRARY_IMPL(deeplab, Meta, m) {
  m.impl("pyramid_conv2d", &pyramid_meta);
}

}  // namespace deeplab
