// The kernel behind for_each_cuda.
#pragma once

#include "csrc/cuda/conv/products.h"
#include "csrc/cuda/launch.cuh"

namespace deeplab {

template <typename Functor>
__global__ void __launch_bounds__(kThreads)
    for_each_kernel(const __grid_constant__ Functor functor,
                    std::int64_t count) {
  for (std::int64_t i = first_index(); i < count; i += index_stride()) {
    functor(static_cast<std::uint32_t>(i));
  }
}

template <typename Functor>
cudaError_t for_each_cuda(const Functor& functor, std::int64_t count,
                          cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  for_each_kernel<<<blocks_for(count), kThreads, 0, stream>>>(functor, count);
  return cudaGetLastError();
}

#define DEEPLAB_FOR_EACH(...)                                          \
  template cudaError_t for_each_cuda(const __VA_ARGS__&, std::int64_t, \
                                     cudaStream_t);

}  // namespace deeplab
