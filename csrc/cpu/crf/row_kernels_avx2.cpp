// Row kernels for AVX2. The standard headers come before the pragma, so that no
// function shared with other files is compiled for it.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "csrc/cpu/crf/row_kernels.h"
#include "csrc/cpu/crf/row_kernels_table.h"

#if DEEPLAB_X86_VARIANTS
#pragma GCC push_options
#pragma GCC target("avx2,fma")

namespace deeplab {
namespace avx2 {
#define DEEPLAB_VECTOR_BYTES 32
#include "csrc/cpu/crf/row_kernels.inl"
}  // namespace avx2

template <typename scalar_t>
RowKernels<scalar_t> row_kernels_avx2() {
  return avx2::table<scalar_t>();
}
template RowKernels<float> row_kernels_avx2<float>();
template RowKernels<double> row_kernels_avx2<double>();

}  // namespace deeplab

#pragma GCC pop_options
#endif
