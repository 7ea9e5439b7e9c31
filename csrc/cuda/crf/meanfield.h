// CUDA launcher of mean-field inference over the lattices of a batch.
// Asynchronous on `stream`; the same bits every time.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "csrc/core/crf/batch/inference.h"

namespace deeplab {

// Bytes of scratch memory on the current device. half_storage keeps marginals
// and rows in half precision, for float problems alone.
template <typename scalar_t>
std::int64_t meanfield_bytes(const BatchProblem<scalar_t>& problem,
                             bool half_storage);

// Writes the marginals [images, labels, image_points]. The iterations are
// replays of one graph, so `stream` must not be under capture.
template <typename scalar_t>
cudaError_t meanfield_cuda(const BatchProblem<scalar_t>& problem,
                           bool half_storage, void* scratch, scalar_t* out,
                           cudaStream_t stream);

}  // namespace deeplab
