// CUDA launcher of a pyramid's plan (core/pyramid.h). Channels and filters must
// be whole numbers of 16-byte units, arrays aligned to them.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include "csrc/core/conv/pyramid.h"

namespace deeplab {

enum class PyramidMath {
  kPlain,   // float32, fused multiply-adds
  kTensor,  // tensor cores, sums in float32: TF32, float16 or bfloat16
};

// T: float, __half or __nv_bfloat16; kPlain takes float alone. Below compute
// capability 8.0 float goes the plain way, the others cudaErrorNotSupported.
template <typename T>
cudaError_t pyramid_cuda(const PyramidPlan& plan,
                         const PyramidArrays<T>& arrays, PyramidMath math,
                         cudaStream_t stream);

}  // namespace deeplab
