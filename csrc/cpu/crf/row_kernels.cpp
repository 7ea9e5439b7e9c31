#include "csrc/cpu/crf/row_kernels.h"

#include "csrc/cpu/capability.h"
#include "csrc/cpu/crf/row_kernels_table.h"

namespace deeplab {
namespace {

template <typename scalar_t>
RowKernels<scalar_t> choose() {
#if DEEPLAB_X86_VARIANTS
  if (capability() == Capability::kAvx512) {
    return row_kernels_avx512<scalar_t>();
  }
  if (capability() == Capability::kAvx2) return row_kernels_avx2<scalar_t>();
#endif
  return row_kernels_plain<scalar_t>();
}

}  // namespace

template <typename scalar_t>
const RowKernels<scalar_t>& row_kernels() {
  static const RowKernels<scalar_t> kernels = choose<scalar_t>();
  return kernels;
}

template const RowKernels<float>& row_kernels<float>();
template const RowKernels<double>& row_kernels<double>();

const char* row_kernels_name() {
  switch (capability()) {
    case Capability::kAvx512:
      return "avx512";
    case Capability::kAvx2:
      return "avx2";
    default:
      return "plain";
  }
}

}  // namespace deeplab
