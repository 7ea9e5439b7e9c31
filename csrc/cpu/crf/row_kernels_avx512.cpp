// Row kernels for AVX512. The standard headers come before the pragma, so that
// no function shared with other files is compiled for it.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "csrc/cpu/crf/row_kernels.h"
#include "csrc/cpu/crf/row_kernels_table.h"

#if DEEPLAB_X86_VARIANTS
#pragma GCC push_options
#pragma GCC target( \
    "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,prefer-vector-width=512")

namespace deeplab {
namespace avx512 {
#define DEEPLAB_VECTOR_BYTES 64
#include "csrc/cpu/crf/row_kernels.inl"
}  // namespace avx512

template <typename scalar_t>
RowKernels<scalar_t> row_kernels_avx512() {
  return avx512::table<scalar_t>();
}
template RowKernels<float> row_kernels_avx512<float>();
template RowKernels<double> row_kernels_avx512<double>();

}  // namespace deeplab

#pragma GCC pop_options
#endif
