// Convolution kernels for AVX2.
#include <cstdint>

#include "csrc/core/macros.h"
#include "csrc/cpu/conv/kernels_table.h"

#if DEEPLAB_X86_VARIANTS
#pragma GCC push_options
#pragma GCC target("avx2,fma")
// Nothing here has to round as it does on another machine.
#pragma GCC optimize("fp-contract=fast")

// Behind the pragma, so that the transforms are compiled for it; vectors of
// this width are no other file's.
#include "csrc/core/conv/winograd.h"

namespace deeplab {
namespace avx2 {
constexpr int kVectorBytes = 32;
constexpr int kRegisterColumns = 2;
#include "csrc/cpu/conv/kernels.inl"
}  // namespace avx2

template <typename T>
ConvKernels<T> conv_kernels_avx2() {
  return avx2::table<T>();
}
template ConvKernels<float> conv_kernels_avx2<float>();
template ConvKernels<double> conv_kernels_avx2<double>();

}  // namespace deeplab

#pragma GCC pop_options
#endif
