// Runs the data-parallel steps of core/crf/batch as kernels on a stream. The
// first error stays; later steps are then not launched.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "csrc/cuda/launch.cuh"

namespace deeplab {

template <typename F>
__global__ void __launch_bounds__(kThreads)
    for_each_layer_kernel(const __grid_constant__ F f, std::int64_t n) {
  const int layer = static_cast<int>(blockIdx.y);
  for (std::int64_t k = first_index(); k < n; k += index_stride()) f(k, layer);
}

class CudaExecutor {
 public:
  explicit CudaExecutor(cudaStream_t stream) : stream_(stream) {}

  template <typename F>
  void for_each(std::int64_t n, const F& f) {
    if (status_ == cudaSuccess) status_ = for_each_cuda(f, n, stream_);
  }
  template <typename F>
  void for_each(std::int64_t n, int layers, const F& f) {
    if (status_ != cudaSuccess || n <= 0 || layers <= 0) return;
    const dim3 grid(blocks_for(n), static_cast<unsigned>(layers));
    for_each_layer_kernel<<<grid, kThreads, 0, stream_>>>(f, n);
    status_ = cudaGetLastError();
  }
  void fill(void* places, int byte, std::int64_t bytes) {
    if (status_ != cudaSuccess || bytes <= 0) return;
    status_ =
        cudaMemsetAsync(places, byte, static_cast<std::size_t>(bytes), stream_);
  }

  cudaError_t status() const { return status_; }

 protected:
  cudaStream_t stream_;
  cudaError_t status_ = cudaSuccess;
};

}  // namespace deeplab
