// Row kernels for the instruction set the build targets.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "csrc/cpu/crf/row_kernels.h"
#include "csrc/cpu/crf/row_kernels_table.h"

namespace deeplab {
namespace plain {
#define DEEPLAB_VECTOR_BYTES 16
#include "csrc/cpu/crf/row_kernels.inl"
}  // namespace plain

template <typename scalar_t>
RowKernels<scalar_t> row_kernels_plain() {
  return plain::table<scalar_t>();
}
template RowKernels<float> row_kernels_plain<float>();
template RowKernels<double> row_kernels_plain<double>();

}  // namespace deeplab
