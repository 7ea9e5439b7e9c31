// One entry point per instruction set; row_kernels() picks among them.
#pragma once

#include "csrc/cpu/capability.h"
#include "csrc/cpu/crf/row_kernels.h"

namespace deeplab {

template <typename scalar_t>
RowKernels<scalar_t> row_kernels_plain();
template <typename scalar_t>
RowKernels<scalar_t> row_kernels_avx2();
template <typename scalar_t>
RowKernels<scalar_t> row_kernels_avx512();

}  // namespace deeplab
