// Convolution kernels for the instruction set the build targets.
#include <cstdint>

#include "csrc/core/conv/winograd.h"
#include "csrc/core/macros.h"
#include "csrc/cpu/conv/kernels_table.h"

namespace deeplab {
namespace plain {
constexpr int kVectorBytes = 16;
constexpr int kRegisterColumns = 2;
#include "csrc/cpu/conv/kernels.inl"
}  // namespace plain

template <typename T>
ConvKernels<T> conv_kernels_plain() {
  return plain::table<T>();
}
template ConvKernels<float> conv_kernels_plain<float>();
template ConvKernels<double> conv_kernels_plain<double>();

}  // namespace deeplab
