#include <algorithm>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include "csrc/cuda/crf/executor.cuh"
#include "csrc/cuda/crf/lattice.h"

namespace deeplab {
namespace {

// An executor that also sums and sorts, in temporary memory as large as
// sum_bytes and sort_bytes say.
class SortingExecutor : public CudaExecutor {
 public:
  SortingExecutor(cudaStream_t stream, void* temporary,
                  std::int64_t temporary_bytes)
      : CudaExecutor(stream),
        temporary_(temporary),
        temporary_bytes_(static_cast<std::size_t>(temporary_bytes)) {}

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

  void exclusive_sum(const std::int32_t* in, std::int32_t* out,
                     std::int64_t n) {
    if (status_ != cudaSuccess || n <= 0) return;
    std::size_t bytes = temporary_bytes_;
    status_ = cub::DeviceScan::ExclusiveSum(temporary_, bytes, in, out,
                                            static_cast<int>(n), stream_);
  }
  // The radix sort is stable.
  void sort_pairs(const std::int32_t* keys, std::int32_t* sorted_keys,
                  const std::int32_t* values, std::int32_t* sorted_values,
                  std::int64_t n, int bits) {
    if (status_ != cudaSuccess || n <= 0) return;
    std::size_t bytes = temporary_bytes_;
    status_ = cub::DeviceRadixSort::SortPairs(
        temporary_, bytes, keys, sorted_keys, values, sorted_values,
        static_cast<int>(n), 0, bits, stream_);
  }

 private:
  void* temporary_;
  std::size_t temporary_bytes_;
};

// The build's scratch arrays, then the temporary memory of sums and sorts.
template <typename scalar_t>
SortingExecutor prepare(BatchBuild<scalar_t>& build, Arena& arena,
                        cudaStream_t stream) {
  take_scratch(arena, build);
  const std::int64_t bytes =
      std::max(SortingExecutor::sum_bytes(build.entries()),
               SortingExecutor::sort_bytes(build.entries()));
  return {stream, arena.take<char>(bytes), bytes};
}

}  // namespace

template <typename scalar_t>
std::int64_t lattice_build_bytes(const BatchBuild<scalar_t>& build) {
  Arena measure;
  BatchBuild<scalar_t> measured = build;
  prepare(measured, measure, nullptr);
  return measure.bytes();
}

template <typename scalar_t>
cudaError_t lattice_number_cuda(BatchBuild<scalar_t> build, void* scratch,
                                cudaStream_t stream) {
  Arena arena(scratch);
  SortingExecutor run = prepare(build, arena, stream);
  number_vertices(run, build);
  return run.status();
}

template <typename scalar_t>
cudaError_t lattice_link_cuda(BatchBuild<scalar_t> build,
                              const BatchLinks& links, void* scratch,
                              cudaStream_t stream) {
  Arena arena(scratch);
  SortingExecutor run = prepare(build, arena, stream);
  link_vertices(run, build, links);
  return run.status();
}

template <typename scalar_t>
std::int64_t splat_list_bytes(const BatchLattice<scalar_t>& lattice) {
  Arena measure;
  measure.take<std::int32_t>(lattice.vertex_count + 1);
  measure.take<char>(SortingExecutor::sum_bytes(lattice.vertex_count + 1));
  return measure.bytes();
}

template <typename scalar_t>
cudaError_t splat_list_cuda(const BatchLattice<scalar_t>& lattice,
                            const std::int32_t* entries, void* scratch,
                            cudaStream_t stream) {
  const std::int64_t bytes =
      SortingExecutor::sum_bytes(lattice.vertex_count + 1);
  Arena arena(scratch);
  std::int32_t* counts = arena.take<std::int32_t>(lattice.vertex_count + 1);
  SortingExecutor run(stream, arena.take<char>(bytes), bytes);
  list_splat(run, lattice, entries, counts);
  return run.status();
}

#define DEEPLAB_INSTANTIATE(scalar_t)                                     \
  template std::int64_t lattice_build_bytes(const BatchBuild<scalar_t>&); \
  template cudaError_t lattice_number_cuda(BatchBuild<scalar_t>, void*,   \
                                           cudaStream_t);                 \
  template cudaError_t lattice_link_cuda(                                 \
      BatchBuild<scalar_t>, const BatchLinks&, void*, cudaStream_t);      \
  template std::int64_t splat_list_bytes(const BatchLattice<scalar_t>&);  \
  template cudaError_t splat_list_cuda(const BatchLattice<scalar_t>&,     \
                                       const std::int32_t*, void*,        \
                                       cudaStream_t);
DEEPLAB_INSTANTIATE(float)
DEEPLAB_INSTANTIATE(double)
#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
