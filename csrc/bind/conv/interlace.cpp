// The papers' second way (core/conv/interlace.h) made of torch's ops, on any
// device.
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>

#include <vector>

#include "csrc/bind/conv/atrous.h"

namespace deeplab {
namespace {

constexpr std::array<int64_t, 2> kOnes = {1, 1};
constexpr std::array<int64_t, 2> kZeros = {0, 0};

// Sizes along one axis.
struct Axis {
  explicit Axis(const WindowAxis& window)
      : rate(window.dilation),
        output(window.output),
        outputs((window.output + rate - 1) / rate),
        inputs(outputs + window.kernel - 1),
        before(window.padding),
        after(inputs * rate - window.padding - window.input) {}

  int64_t rate;
  int64_t output;
  int64_t outputs;  // of a sub-map
  int64_t inputs;   // of a sub-map
  int64_t before;   // padding that makes all sub-maps equal; negative crops
  int64_t after;
};

class Interlacing {
 public:
  explicit Interlacing(const Conv2dCall& call)
      : call_(call),
        shape_(call.shape()),
        h_(shape_.window.h),
        w_(shape_.window.w) {}

  at::Tensor inputs() const {
    return split(at::constant_pad_nd(
                     call_.input, {w_.before, w_.after, h_.before, h_.after}),
                 h_.inputs, w_.inputs);
  }

  at::Tensor grads(const at::Tensor& grad) const {
    return split(
        at::constant_pad_nd(grad, {0, w_.outputs * w_.rate - w_.output, 0,
                                   h_.outputs * h_.rate - h_.output}),
        h_.outputs, w_.outputs);
  }

  at::Tensor join_outputs(const at::Tensor& maps) const {
    return join(maps, h_.outputs, w_.outputs)
        .narrow(2, 0, h_.output)
        .narrow(3, 0, w_.output);
  }

  at::Tensor join_inputs(const at::Tensor& maps) const {
    return at::constant_pad_nd(join(maps, h_.inputs, w_.inputs),
                               {-w_.before, -w_.after, -h_.before, -h_.after});
  }

 private:
  // [N, C, h * rate, w * rate] -> [N * rate * rate, C, h, w].
  at::Tensor split(const at::Tensor& map, int64_t h, int64_t w) const {
    return map.reshape({shape_.batch, map.size(1), h, h_.rate, w, w_.rate})
        .permute({0, 3, 5, 1, 2, 4})
        .reshape({shape_.batch * h_.rate * w_.rate, map.size(1), h, w});
  }

  at::Tensor join(const at::Tensor& maps, int64_t h, int64_t w) const {
    return maps.reshape({shape_.batch, h_.rate, w_.rate, maps.size(1), h, w})
        .permute({0, 3, 4, 1, 5, 2})
        .reshape({shape_.batch, maps.size(1), h * h_.rate, w * w_.rate});
  }

  const Conv2dCall& call_;
  Conv2dShape shape_;
  Axis h_;
  Axis w_;
};

}  // namespace

at::Tensor interlaced_conv2d(const Conv2dCall& call) {
  const Interlacing interlacing(call);
  return interlacing
      .join_outputs(at::convolution(
          interlacing.inputs(), call.weight, call.bias, kOnes, kZeros, kOnes,
          /*transposed=*/false, kZeros, call.groups.expect_int()))
      .contiguous(result_format(ConvMethod::kInterlace, call.input));
}

Gradients interlaced_conv2d_backward(const Conv2dCall& call,
                                     const at::Tensor& grad,
                                     std::array<bool, 3> output_mask) {
  const Interlacing interlacing(call);
  auto [grad_input, grad_weight, grad_bias] = at::convolution_backward(
      interlacing.grads(grad), interlacing.inputs(), call.weight,
      at::IntArrayRef(call.weight.size(0)), kOnes, kZeros, kOnes,
      /*transposed=*/false, kZeros, call.groups.expect_int(), output_mask);
  if (grad_input.defined()) {
    grad_input =
        interlacing.join_inputs(grad_input)
            .contiguous(result_format(ConvMethod::kInterlace, call.input));
  }
  if (grad_weight.defined()) {
    grad_weight = grad_weight.contiguous(
        result_format(ConvMethod::kInterlace, call.weight));
  }
  return {grad_input, grad_weight, grad_bias};
}

}  // namespace deeplab
