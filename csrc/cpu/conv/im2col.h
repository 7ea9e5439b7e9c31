// CPU launchers of im2col, col2im and the convolution made of them ("the Caffe
// way": im2col, then a matrix product). All arrays are contiguous; layouts as
// in core/conv/im2col.h. Instantiated for float and double.
#pragma once

#include <cstdint>
#include <functional>

#include "csrc/core/conv/window.h"

namespace deeplab {

// c [m, n] = a b, or c += a b where `accumulate`; a is [m, k] (stored [k, m]
// where `a_transposed`), b is [k, n] (stored [n, k] where `b_transposed`).
template <typename T>
struct MatrixProduct {
  const T* a;
  const T* b;
  T* c;
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
  bool a_transposed = false;
  bool b_transposed = false;
  bool accumulate = false;
};

template <typename T>
using Multiply = std::function<void(const MatrixProduct<T>&)>;

template <typename T>
void im2col_cpu(const Window2d& window, std::int64_t planes, const T* images,
                T* columns);

template <typename T>
void col2im_cpu(const Window2d& window, std::int64_t planes, const T* columns,
                T* images);

// input [N, C, H, W], weight [F, C / groups, kernel_h, kernel_w], bias [F] or
// null -> output [N, F, output_h, output_w]. One image's columns are in memory
// at a time.
template <typename T>
void atrous_conv2d_cpu(const Conv2dShape& shape, const T* input,
                       const T* weight, const T* bias, T* output,
                       const Multiply<T>& multiply);

// Gradients of the above; each of the three may be null: not wanted.
template <typename T>
void atrous_conv2d_backward_cpu(const Conv2dShape& shape, const T* grad_output,
                                const T* input, const T* weight, T* grad_input,
                                T* grad_weight, T* grad_bias,
                                const Multiply<T>& multiply);

}  // namespace deeplab
