// The convolution by torch's own ops, and its gradients.
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/sum.h>

#include "csrc/bind/conv/atrous.h"

namespace deeplab {

using c10::SymInt;
using c10::SymIntArrayRef;

at::Tensor library_conv2d(const Conv2dCall& call) {
  return at::convolution_symint(call.input, call.weight, call.bias, call.stride,
                                call.padding, call.dilation,
                                /*transposed=*/false,
                                /*output_padding=*/SymPair{0, 0}, call.groups)
      .contiguous(result_format(ConvMethod::kLibrary, call.input));
}

Gradients library_conv2d_backward(const Conv2dCall& call,
                                  const at::Tensor& grad,
                                  std::array<bool, 3> output_mask) {
  const SymInt filters = call.weight.sym_size(0);
  auto [grad_input, grad_weight, grad_bias] = at::convolution_backward_symint(
      grad, call.input, call.weight, SymIntArrayRef(filters), call.stride,
      call.padding, call.dilation,
      /*transposed=*/false, /*output_padding=*/SymPair{0, 0}, call.groups,
      output_mask);
  const auto laid_out_like = [](const at::Tensor& result,
                                const at::Tensor& like) {
    return result.defined()
               ? result.contiguous(result_format(ConvMethod::kLibrary, like))
               : result;
  };
  return {laid_out_like(grad_input, call.input),
          laid_out_like(grad_weight, call.weight), grad_bias};
}

void complete_gradients(const Conv2dCall& call, const at::Tensor& grad,
                        std::array<bool, 3> output_mask, Gradients& result) {
  if (output_mask[2]) {
    std::get<2>(result) = grad.sum({0, 2, 3});
    output_mask[2] = false;
  }
  if (output_mask[0] || output_mask[1]) {
    const Gradients rest = library_conv2d_backward(call, grad, output_mask);
    if (output_mask[0]) std::get<0>(result) = std::get<0>(rest);
    if (output_mask[1]) std::get<1>(result) = std::get<1>(rest);
  }
}

}  // namespace deeplab
