// Convolutions with packed weights (pack.h) on channels-last arrays:
// input [N, H, W, C], output [N, output_h, output_w, F], all channels of a
// pixel together. The padding of shape.window may be negative here: taps then
// start inside the input, which is what an input gradient with more padding
// than reach needs.
#pragma once

#include <cstdint>

#include "csrc/core/conv/plan.h"
#include "csrc/core/conv/window.h"
#include "csrc/cpu/conv/kernels.h"
#include "csrc/cpu/conv/pack.h"

namespace deeplab {

template <typename T>
struct PackedConv {
  Conv2dShape shape;
  const T* input;
  const T* packed;
  const T* bias;  // [F] or null
  bool relu;
  T* output;
  MultiplyTile<T> multiply;
};

// Taps over valid rectangles: every tap is a matrix product over the outputs
// whose sample lies inside the input. Any window; 32 KiB of scratch memory a
// thread.
template <typename T>
void conv_direct_cpu(const PackedConv<T>& conv);

// F(tile x tile, 3x3) on interlaced sub-maps; tile is 2 or 4; stride 1. Scratch
// memory stays within kWinogradMemory of one image's im2col columns, unless a
// few tiles already take more.
template <typename T>
void conv_winograd_cpu(const PackedConv<T>& conv, std::int64_t tile);

// The gradient of a convolution's weight, taps over valid rectangles again:
// products of transposed inputs and output gradients. Stride 1.
template <typename T>
struct WeightGradient {
  Conv2dShape shape;
  const T* input;  // of any strides, in elements
  std::int64_t input_strides[4];
  const T* grad;         // channels-last
  WeightView<T> weight;  // sizes and strides of `result`; data unused
  T* result;
  MultiplyTile<T> multiply;
};

template <typename T>
void conv_weight_gradient_cpu(const WeightGradient<T>& gradient);

}  // namespace deeplab
