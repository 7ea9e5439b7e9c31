// Gradients by batched products, and the CPU registrations that let tests
// follow CUDA's ways where there is no GPU.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "csrc/bind/conv/atrous.h"
#include "csrc/bind/conv/batched.h"

namespace deeplab {

Gradients batched_conv2d_backward(const ConvArguments& arguments,
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
            batched_weight(mirrored_weight(arguments.weight, shape.groups),
                           shape.groups, input_path),
            std::nullopt, false)
            .contiguous(result_format(ConvMethod::kDirect, arguments.input));
    output_mask[0] = false;
  }
  if (output_mask[1] && own_weight) {
    std::get<1>(result) =
        batched_weight_gradient(shape, arguments.input, grad)
            .contiguous(result_format(ConvMethod::kDirect, arguments.weight));
    output_mask[1] = false;
  }
  complete_gradients(arguments, grad, output_mask, result);
  return result;
}

namespace {

using c10::SymInt;
using c10::SymIntArrayRef;

ConvPath batched_path(const ConvArguments& arguments) {
  return check_pack(arguments.op, arguments.weight, arguments.groups,
                    arguments.method);
}

at::Tensor batched_cpu_kernel(const at::Tensor& input, const at::Tensor& weight,
                              const std::optional<at::Tensor>& bias,
                              SymIntArrayRef stride, SymIntArrayRef padding,
                              SymIntArrayRef dilation, SymInt groups,
                              c10::string_view method, bool relu) {
  const ConvArguments arguments = {"atrous_conv2d_batched",
                                   input,
                                   weight,
                                   stride,
                                   padding,
                                   dilation,
                                   groups,
                                   method};
  check_conv(arguments);
  check_bias(arguments, bias);
  const Conv2dShape shape = make_shape(arguments);
  const ConvPath path = batched_path(arguments);
  return batched_conv2d(path, shape, input,
                        batched_weight(weight, shape.groups, path), bias, relu);
}

Gradients batched_backward_cpu_kernel(
    const at::Tensor& grad, const at::Tensor& input, const at::Tensor& weight,
    SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef dilation,
    SymInt groups, c10::string_view method, std::array<bool, 3> output_mask) {
  const ConvArguments arguments = {"atrous_conv2d_batched_backward",
                                   input,
                                   weight,
                                   stride,
                                   padding,
                                   dilation,
                                   groups,
                                   method};
  const CheckedConv checked = check_conv(arguments);
  check_grad(arguments, checked, grad);
  return batched_conv2d_backward(arguments, make_shape(arguments), grad,
                                 batched_path(arguments), true, output_mask);
}

}  // namespace

TORCH_LIBRARY_IMPL(deeplab, CPU, m) {
  m.impl("atrous_conv2d_batched", &batched_cpu_kernel);
  m.impl("atrous_conv2d_batched_backward", &batched_backward_cpu_kernel);
}

}  // namespace deeplab
