// Convolution kernels for AVX512.
#include <cstdint>

#include "csrc/core/macros.h"
#include "csrc/cpu/conv/kernels_table.h"

#if DEEPLAB_X86_VARIANTS
#pragma GCC push_options
#pragma GCC target( \
    "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,prefer-vector-width=512")
// Nothing here has to round as it does on another machine.
#pragma GCC optimize("fp-contract=fast")

// Behind the pragma, so that the transforms are compiled for it; vectors of
// this width are no other file's.
#include "csrc/core/conv/winograd.h"

namespace deeplab {
namespace avx512 {
constexpr int kVectorBytes = 64;
constexpr int kRegisterColumns = 4;
#include "csrc/cpu/conv/kernels.inl"
}  // namespace avx512

template <typename T>
ConvKernels<T> conv_kernels_avx512() {
  return avx512::table<T>();
}
template ConvKernels<float> conv_kernels_avx512<float>();
template ConvKernels<double> conv_kernels_avx512<double>();

}  // namespace deeplab

#pragma GCC pop_options
#endif
