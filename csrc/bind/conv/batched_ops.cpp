// Gradients by batched products, and the CPU registrations that let tests
// follow CUDA's ways where there is no GPU.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "csrc/bind/conv/atrous.h"
#include "csrc/bind/conv/batched.h"

namespace deeplab {

Gradients batched_conv2d_backward(const Conv2dCall& call,
                                  const Conv2dShape& shape,
                                  const at::Tensor& grad, ConvPath input_path,
                                  bool own_weight,
                                  std::array<bool, 3> output_mask) {
  Gradients result;
  const bool own_input = input_path != ConvPath::kLibrary &&
                         shape.window.h.stride == 1 &&
                         shape.window.w.stride == 1;
  if (output_mask[0] && own_input) {
    std::get<0>(result) =
        batched_conv2d(
            input_path, mirrored_shape(shape), grad,
            batched_weight(mirrored_weight(call.weight, shape.groups),
                           shape.groups, input_path),
            std::nullopt, false)
            .contiguous(result_format(ConvMethod::kDirect, call.input));
    output_mask[0] = false;
  }
  if (output_mask[1] && own_weight) {
    std::get<1>(result) =
        batched_weight_gradient(shape, call.input, grad)
            .contiguous(result_format(ConvMethod::kDirect, call.weight));
    output_mask[1] = false;
  }
  complete_gradients(call, grad, output_mask, result);
  return result;
}

namespace {

ConvPath batched_path(const Conv2dCall& call) {
  return check_pack(call.op, call.weight, call.groups, call.method_name);
}

at::Tensor batched_cpu_kernel(const at::Tensor& input, const at::Tensor& weight,
                              const std::optional<at::Tensor>& bias,
                              c10::SymIntArrayRef stride,
                              c10::SymIntArrayRef padding,
                              c10::SymIntArrayRef dilation, c10::SymInt groups,
                              c10::string_view method, bool relu) {
  const Conv2dCall call("atrous_conv2d_batched", input, weight, bias, stride,
                        padding, dilation, groups, method, relu);
  const Conv2dShape shape = call.shape();
  const ConvPath path = batched_path(call);
  return batched_conv2d(path, shape, input,
                        batched_weight(weight, shape.groups, path), call.bias,
                        relu);
}

constexpr char kBackwardOp[] = "atrous_conv2d_batched_backward";
Gradients batched_backward_cpu_kernel(const Conv2dCall& call,
                                      const at::Tensor& grad,
                                      std::array<bool, 3> output_mask) {
  return batched_conv2d_backward(call, call.shape(), grad, batched_path(call),
                                 true, output_mask);
}

}  // namespace

TORCH_LIBRARY_IMPL(deeplab, CPU, m) {
  m.impl("atrous_conv2d_batched", &batched_cpu_kernel);
  m.impl(kBackwardOp,
         &conv2d_backward_op<batched_backward_cpu_kernel, kBackwardOp>);
}

}  // namespace deeplab
