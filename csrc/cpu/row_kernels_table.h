// One entry point per instruction set; row_kernels() picks among them.
#pragma once

#include "csrc/cpu/row_kernels.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define DEEPLAB_X86_VARIANTS 1
#else
#define DEEPLAB_X86_VARIANTS 0
#endif

namespace deeplab {

template <typename scalar_t>
RowKernels<scalar_t> row_kernels_plain();
template <typename scalar_t>
RowKernels<scalar_t> row_kernels_avx2();
template <typename scalar_t>
RowKernels<scalar_t> row_kernels_avx512();

}  // namespace deeplab
