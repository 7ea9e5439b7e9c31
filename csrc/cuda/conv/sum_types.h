// The CUDA toolkit's reduced types as core/conv/im2col.h sums them.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "csrc/core/conv/im2col.h"

namespace deeplab {

// Named conversions: torch's build flags take the implicit ones away.
template <>
struct SumOf<__half> {
  using Type = float;
  static DEEPLAB_HD float widen(__half value) { return __half2float(value); }
  static DEEPLAB_HD __half narrow(float sum) { return __float2half_rn(sum); }
};

template <>
struct SumOf<__nv_bfloat16> {
  using Type = float;
  static DEEPLAB_HD float widen(__nv_bfloat16 value) {
    return __bfloat162float(value);
  }
  static DEEPLAB_HD __nv_bfloat16 narrow(float sum) {
    return __float2bfloat16_rn(sum);
  }
};

}  // namespace deeplab
