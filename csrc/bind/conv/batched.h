// Convolutions as few large products by torch's matrix multiplication, the way
// of CUDA: one per region of outputs (core/conv/regions.h), or one per place of
// the Winograd domain. Any device: the same code and functors run on the CPU,
// where tests follow them.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "csrc/bind/conv/atrous.h"
#include "csrc/core/conv/plan.h"

namespace deeplab {

// Weights of all groups as the products read them, [elements]:
// [groups, kernel_h, kernel_w, channels, filters] for kDirect, of the weight's
// dtype; [groups, positions, channels, filters] for the Winograd ways, float32
// where the weight is reduced.
at::Tensor batched_weight(const at::Tensor& weight, int64_t groups,
                          ConvPath path);

// The weight [C, F / groups, kh, kw] whose convolution is the input gradient.
at::Tensor mirrored_weight(const at::Tensor& weight, int64_t groups);

// path: kDirect, kWinograd2 or kWinograd4. Any strides in; channels_last out.
// Reduced dtypes are summed in float32. Scratch memory: see scratch_bytes.
at::Tensor batched_conv2d(ConvPath path, const Conv2dShape& shape,
                          const at::Tensor& input, const at::Tensor& packed,
                          const std::optional<at::Tensor>& bias, bool relu);

// [F, C / groups, kh, kw], region by region; any stride.
at::Tensor batched_weight_gradient(const Conv2dShape& shape,
                                   const at::Tensor& input,
                                   const at::Tensor& grad);

// Gradients: of the input by `input_path` where it is one of those above and
// the stride 1, of the weight by regions where `own_weight`, the rest by the
// library.
Gradients batched_conv2d_backward(const Conv2dCall& call,
                                  const Conv2dShape& shape,
                                  const at::Tensor& grad, ConvPath input_path,
                                  bool own_weight,
                                  std::array<bool, 3> output_mask);

// Memory that samples and products may take at a time; the copies of a
// contiguous input and output in channels_last come on top.
int64_t scratch_bytes(const Conv2dShape& shape, int64_t item_size);

// Whether the indices of such a convolution stay within 32 bits.
bool fits_batched(const Conv2dShape& shape);

}  // namespace deeplab
