// Runs the data-parallel steps of core/batch_*.h as kernels on a stream. The
// first error stays; later steps are then not launched.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include "csrc/cuda/launch.cuh"

namespace deeplab {

// __grid_constant__: functors hold arrays that are indexed at run time; a copy
// of theirs would go to local memory.
template <typename F>
__global__ void __launch_bounds__(kThreads)
    for_each_kernel(const __grid_constant__ F f, std::int64_t n) {
  for (std::int64_t k = first_index(); k < n; k += index_stride()) f(k);
}

template <typename F>
__global__ void __launch_bounds__(kThreads)
    for_each_layer_kernel(const __grid_constant__ F f, std::int64_t n) {
  const int layer = static_cast<int>(blockIdx.y);
  for (std::int64_t k = first_index(); k < n; k += index_stride()) f(k, layer);
}

class CudaExecutor {
 public:
  // temporary: for exclusive_sum and sort_pairs, as large as those say.
  explicit CudaExecutor(cudaStream_t stream, void* temporary = nullptr,
                        std::size_t temporary_bytes = 0)
      : stream_(stream),
        temporary_(temporary),
        temporary_bytes_(temporary_bytes) {}

  static std::int64_t sum_bytes(std::int64_t n) {
    std::size_t bytes = 0;
    cub::DeviceScan::ExclusiveSum(
        nullptr, bytes, static_cast<const std::int32_t*>(nullptr),
        static_cast<std::int32_t*>(nullptr), static_cast<int>(n));
    return static_cast<std::int64_t>(bytes);
  }
  static std::int64_t sort_bytes(std::int64_t n) {
    std::size_t bytes = 0;
    const auto* in = static_cast<const std::int32_t*>(nullptr);
    auto* out = static_cast<std::int32_t*>(nullptr);
    cub::DeviceRadixSort::SortPairs(nullptr, bytes, in, out, in, out,
                                    static_cast<int>(n), 0, 32);
    return static_cast<std::int64_t>(bytes);
  }

  template <typename F>
  void for_each(std::int64_t n, const F& f) {
    if (status_ != cudaSuccess || n <= 0) return;
    for_each_kernel<<<blocks_for(n), kThreads, 0, stream_>>>(f, n);
    keep(cudaGetLastError());
  }
  template <typename F>
  void for_each(std::int64_t n, int layers, const F& f) {
    if (status_ != cudaSuccess || n <= 0 || layers <= 0) return;
    const dim3 grid(blocks_for(n), static_cast<unsigned>(layers));
    for_each_layer_kernel<<<grid, kThreads, 0, stream_>>>(f, n);
    keep(cudaGetLastError());
  }
  void fill(void* places, int byte, std::int64_t bytes) {
    if (status_ != cudaSuccess || bytes <= 0) return;
    keep(cudaMemsetAsync(places, byte, static_cast<std::size_t>(bytes),
                         stream_));
  }
  void exclusive_sum(const std::int32_t* in, std::int32_t* out,
                     std::int64_t n) {
    if (status_ != cudaSuccess || n <= 0) return;
    std::size_t bytes = temporary_bytes_;
    keep(cub::DeviceScan::ExclusiveSum(temporary_, bytes, in, out,
                                       static_cast<int>(n), stream_));
  }
  // The radix sort is stable.
  void sort_pairs(const std::int32_t* keys, std::int32_t* sorted_keys,
                  const std::int32_t* values, std::int32_t* sorted_values,
                  std::int64_t n, int bits) {
    if (status_ != cudaSuccess || n <= 0) return;
    std::size_t bytes = temporary_bytes_;
    keep(cub::DeviceRadixSort::SortPairs(
        temporary_, bytes, keys, sorted_keys, values, sorted_values,
        static_cast<int>(n), 0, bits, stream_));
  }

  cudaError_t status() const { return status_; }

 private:
  void keep(cudaError_t status) {
    if (status_ == cudaSuccess) status_ = status;
  }

  cudaStream_t stream_;
  void* temporary_;
  std::size_t temporary_bytes_;
  cudaError_t status_ = cudaSuccess;
};

}  // namespace deeplab
