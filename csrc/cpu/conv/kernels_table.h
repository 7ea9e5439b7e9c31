// One entry point per instruction set; conv_kernels() picks among them.
#pragma once

#include "csrc/cpu/capability.h"
#include "csrc/cpu/conv/kernels.h"

namespace deeplab {

template <typename T>
ConvKernels<T> conv_kernels_plain();
template <typename T>
ConvKernels<T> conv_kernels_avx2();
template <typename T>
ConvKernels<T> conv_kernels_avx512();

}  // namespace deeplab
