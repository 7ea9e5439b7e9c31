#include "csrc/cpu/conv/kernels.h"

#include "csrc/cpu/conv/kernels_table.h"

namespace deeplab {
namespace {

template <typename T>
ConvKernels<T> choose() {
#if DEEPLAB_X86_VARIANTS
  if (capability() == Capability::kAvx512) return conv_kernels_avx512<T>();
  if (capability() == Capability::kAvx2) return conv_kernels_avx2<T>();
#endif
  return conv_kernels_plain<T>();
}

}  // namespace

template <typename T>
const ConvKernels<T>& conv_kernels() {
  static const ConvKernels<T> kernels = choose<T>();
  return kernels;
}

template const ConvKernels<float>& conv_kernels<float>();
template const ConvKernels<double>& conv_kernels<double>();

}  // namespace deeplab
