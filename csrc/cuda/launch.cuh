// Launch helpers shared by the kernels: one-dimensional grid-stride loops, and
// the kernel that runs a functor over indices.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

namespace deeplab {

constexpr int kThreads = 256;

// Blocks for `work` items; kernels stride over what is beyond the grid.
inline unsigned blocks_for(std::int64_t work) {
  const std::int64_t blocks = (work + kThreads - 1) / kThreads;
  return static_cast<unsigned>(
      std::clamp<std::int64_t>(blocks, 1, std::int64_t{1} << 20));
}

__device__ __forceinline__ std::int64_t first_index() {
  return std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ std::int64_t index_stride() {
  return std::int64_t(gridDim.x) * blockDim.x;
}

// f(i) for i in [0, count). __grid_constant__: functors hold arrays that are
// indexed at run time; a copy of theirs would go to local memory.
template <typename F>
__global__ void __launch_bounds__(kThreads)
    for_each_kernel(const __grid_constant__ F f, std::int64_t count) {
  for (std::int64_t i = first_index(); i < count; i += index_stride()) f(i);
}

template <typename F>
cudaError_t for_each_cuda(const F& f, std::int64_t count, cudaStream_t stream) {
  if (count <= 0) return cudaSuccess;
  for_each_kernel<<<blocks_for(count), kThreads, 0, stream>>>(f, count);
  return cudaGetLastError();
}

}  // namespace deeplab
