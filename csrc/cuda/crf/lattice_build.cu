#include <algorithm>

#include "csrc/cuda/crf/executor.cuh"
#include "csrc/cuda/crf/lattice.h"

namespace deeplab {
namespace {

// The build's scratch arrays, then the temporary memory of sums and sorts.
template <typename scalar_t>
CudaExecutor prepare(BatchBuild<scalar_t>& build, Arena& arena,
                     cudaStream_t stream) {
  take_scratch(arena, build);
  const std::int64_t bytes =
      std::max(CudaExecutor::sum_bytes(build.entries()),
               CudaExecutor::sort_bytes(build.entries()));
  return CudaExecutor(stream, arena.take<char>(bytes),
                      static_cast<std::size_t>(bytes));
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
  CudaExecutor run = prepare(build, arena, stream);
  number_vertices(run, build);
  return run.status();
}

template <typename scalar_t>
cudaError_t lattice_link_cuda(BatchBuild<scalar_t> build,
                              const BatchLinks& links, void* scratch,
                              cudaStream_t stream) {
  Arena arena(scratch);
  CudaExecutor run = prepare(build, arena, stream);
  link_vertices(run, build, links);
  return run.status();
}

#define DEEPLAB_INSTANTIATE(scalar_t)                                     \
  template std::int64_t lattice_build_bytes(const BatchBuild<scalar_t>&); \
  template cudaError_t lattice_number_cuda(BatchBuild<scalar_t>, void*,   \
                                           cudaStream_t);                 \
  template cudaError_t lattice_link_cuda(                                 \
      BatchBuild<scalar_t>, const BatchLinks&, void*, cudaStream_t);
DEEPLAB_INSTANTIATE(float)
DEEPLAB_INSTANTIATE(double)
#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
