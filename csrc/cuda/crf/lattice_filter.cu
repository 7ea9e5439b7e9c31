#include "csrc/cuda/crf/executor.cuh"
#include "csrc/cuda/crf/lattice.h"

namespace deeplab {
namespace {

int blocks_of(std::int64_t channels) {
  return static_cast<int>((channels + kRowBlock - 1) / kRowBlock);
}

}  // namespace

template <typename scalar_t>
std::int64_t lattice_filter_bytes(const BatchLattice<scalar_t>& lattice,
                                  std::int64_t channels) {
  Arena measure;
  take_filter_rows(measure, lattice, blocks_of(channels));
  return measure.bytes();
}

template <typename scalar_t>
cudaError_t lattice_filter_cuda(const BatchLattice<scalar_t>& lattice,
                                const scalar_t* values, std::int64_t channels,
                                bool reverse, void* scratch, scalar_t* out,
                                cudaStream_t stream) {
  Arena arena(scratch);
  const auto memory = take_filter_rows(arena, lattice, blocks_of(channels));
  CudaExecutor run(stream);
  filter_values(run, memory.second, values, channels, memory.first, reverse,
                out);
  return run.status();
}

#define DEEPLAB_INSTANTIATE(scalar_t)                                       \
  template std::int64_t lattice_filter_bytes(const BatchLattice<scalar_t>&, \
                                             std::int64_t);                 \
  template cudaError_t lattice_filter_cuda(                                 \
      const BatchLattice<scalar_t>&, const scalar_t*, std::int64_t, bool,   \
      void*, scalar_t*, cudaStream_t);
DEEPLAB_INSTANTIATE(float)
DEEPLAB_INSTANTIATE(double)
#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
