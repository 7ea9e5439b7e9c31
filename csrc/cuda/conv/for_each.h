// CUDA launcher of the functors of core/conv/batched.h and
// core/conv/shift_add.h: one thread an index. Device pointers and a stream, no
// torch. Instantiated for moves in units of 2, 4, 8 and 16 bytes, for
// arithmetic on float, double, __half and
// __nv_bfloat16, and for Winograd transforms of float and double.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "csrc/core/conv/batched.h"
#include "csrc/core/conv/shift_add.h"
#include "csrc/cuda/conv/sum_types.h"

namespace deeplab {

// functor(i) for i in [0, count), count <= 2^32. Defined in cuda/launch.cuh.
template <typename Functor>
cudaError_t for_each_cuda(const Functor& functor, std::int64_t count,
                          cudaStream_t stream);

// In a .cu file that includes cuda/launch.cuh: makes one launcher.
#define DEEPLAB_FOR_EACH(...)                                          \
  template cudaError_t for_each_cuda(const __VA_ARGS__&, std::int64_t, \
                                     cudaStream_t);

}  // namespace deeplab
