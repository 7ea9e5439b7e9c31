#include "csrc/cuda/crf/executor.cuh"
#include "csrc/cuda/crf/graph.cuh"
#include "csrc/cuda/crf/meanfield.h"

namespace deeplab {
namespace {

// Of the second-level cache, what rows may take beside the marginals that
// stream through it.
std::int64_t cache_bytes() {
  int device = 0, bytes = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, device) !=
          cudaSuccess) {
    return 0;
  }
  return std::int64_t{bytes} / 8 * 5;
}

template <typename storage_t, typename scalar_t>
cudaError_t infer(const BatchProblem<scalar_t>& problem, void* scratch,
                  scalar_t* out, cudaStream_t stream) {
  Arena arena(scratch);
  const BatchInference<scalar_t, storage_t> inference(problem, cache_bytes(),
                                                      arena);
  CudaExecutor run(stream);
  inference.start(run);
  if (run.status() != cudaSuccess) return run.status();
  if (problem.kernel_count > 0) {
    const cudaError_t status = GraphReplay::run(
        stream, problem.iterations, [&](cudaStream_t recorder) {
          CudaExecutor recording(recorder);
          inference.iterate(recording);
          return recording.status();
        });
    if (status != cudaSuccess) return status;
  }
  inference.finish(run, out);
  return run.status();
}

}  // namespace

template <typename scalar_t>
std::int64_t meanfield_bytes(const BatchProblem<scalar_t>& problem,
                             bool half_storage) {
  Arena measure;
  if constexpr (sizeof(scalar_t) == sizeof(float)) {
    if (half_storage) {
      BatchInference<scalar_t, Half>(problem, cache_bytes(), measure);
      return measure.bytes();
    }
  }
  BatchInference<scalar_t, scalar_t>(problem, cache_bytes(), measure);
  return measure.bytes();
}

template <typename scalar_t>
cudaError_t meanfield_cuda(const BatchProblem<scalar_t>& problem,
                           bool half_storage, void* scratch, scalar_t* out,
                           cudaStream_t stream) {
  if constexpr (sizeof(scalar_t) == sizeof(float)) {
    if (half_storage) return infer<Half>(problem, scratch, out, stream);
  }
  return infer<scalar_t>(problem, scratch, out, stream);
}

#define DEEPLAB_INSTANTIATE(scalar_t)                                         \
  template std::int64_t meanfield_bytes(const BatchProblem<scalar_t>&, bool); \
  template cudaError_t meanfield_cuda(const BatchProblem<scalar_t>&, bool,    \
                                      void*, scalar_t*, cudaStream_t);
DEEPLAB_INSTANTIATE(float)
DEEPLAB_INSTANTIATE(double)
#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
