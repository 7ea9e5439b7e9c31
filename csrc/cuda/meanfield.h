// CUDA launcher of mean-field inference over built lattices. Asynchronous on
// `stream`; the same bits every time.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "csrc/core/meanfield.h"

namespace deeplab {

// Values of device memory meanfield_cuda needs besides its output.
template <typename scalar_t>
std::int64_t meanfield_workspace_size(
    const MeanfieldProblem<scalar_t>& problem);

// Writes the marginals [L, P].
template <typename scalar_t>
cudaError_t meanfield_cuda(const MeanfieldProblem<scalar_t>& problem,
                           scalar_t* workspace, scalar_t* out,
                           cudaStream_t stream);

}  // namespace deeplab
