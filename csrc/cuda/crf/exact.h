// CUDA launcher of mean-field inference over all pairs of points. Asynchronous
// on `stream`; the same bits every time.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "csrc/core/crf/exact.h"

namespace deeplab {

// Bytes of device memory meanfield_exact_cuda needs besides its outputs.
template <typename scalar_t>
std::int64_t exact_workspace_bytes(const ExactProblem<scalar_t>& problem);

// Writes the marginals [L, P] and, to device memory, the bound on what skipping
// did to any of them. `gain` is compatibility_gain of the problem.
template <typename scalar_t>
cudaError_t meanfield_exact_cuda(const ExactProblem<scalar_t>& problem,
                                 double gain, void* workspace, scalar_t* out,
                                 double* error_bound, cudaStream_t stream);

}  // namespace deeplab
