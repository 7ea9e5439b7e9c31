// Launch helpers shared by the kernels: one-dimensional grid-stride loops.
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

}  // namespace deeplab
