#include "csrc/cpu/row_kernels.h"

#include <cstdlib>
#include <string>

#include "csrc/cpu/row_kernels_table.h"

namespace deeplab {
namespace {

enum class Capability { kPlain, kAvx2, kAvx512 };

Capability detect() {
  Capability best = Capability::kPlain;
#if DEEPLAB_X86_VARIANTS
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    best = Capability::kAvx2;
    if (__builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw")) {
      best = Capability::kAvx512;
    }
  }
#endif
  const char* wanted = std::getenv("DEEPLAB_CPU_CAPABILITY");
  const std::string limit = wanted == nullptr ? "" : wanted;
  if (limit == "plain") return Capability::kPlain;
  if (limit == "avx2" && best == Capability::kAvx512) return Capability::kAvx2;
  return best;
}

Capability capability() {
  static const Capability chosen = detect();
  return chosen;
}

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
