// Convolutions with packed weights on the CPU, as the registrations call them.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "csrc/bind/conv/atrous.h"
#include "csrc/core/conv/plan.h"

namespace deeplab {

// weight [F, C / groups, kernel_h, kernel_w] -> [elements].
at::Tensor pack_weight(const at::Tensor& weight, int64_t groups, ConvPath path);

// As pack_weight, of the weight [C, F / groups, kernel_h, kernel_w] whose
// convolution is the input gradient of `weight`'s: taps mirrored, filters and
// channels exchanged.
at::Tensor pack_mirrored_weight(const at::Tensor& weight, int64_t groups,
                                ConvPath path);

// Any strides in; channels_last out. bias may be absent.
at::Tensor run_packed(ConvPath path, const Conv2dShape& shape,
                      const at::Tensor& input, const at::Tensor& packed,
                      const std::optional<at::Tensor>& bias, bool relu);

// Gradients by the same ways; each part that they cannot do, or are predicted
// to do slower, is the library's.
Gradients packed_conv2d_backward(const Conv2dCall& call,
                                 const Conv2dShape& shape,
                                 const at::Tensor& grad,
                                 std::array<bool, 3> output_mask);

}  // namespace deeplab
