// CUDA launchers of the permutohedral lattice; the algorithm and the results'
// order are those of the CPU launchers. Asynchronous on `stream`.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "csrc/core/lattice.h"

namespace deeplab {

// Bytes of device memory lattice_build_cuda needs besides its outputs.
std::int64_t lattice_workspace_bytes(std::int64_t points, int d);

// Builds the lattice of features [N, d]; writes the vertex count to `count`
// (device memory), -1 when a feature is not finite or too far out. Neighbours
// past the count are -1, offsets past it N (d + 1).
template <typename scalar_t>
cudaError_t lattice_build_cuda(const scalar_t* features, std::int64_t points,
                               int d, const LatticeBuffers<scalar_t>& out,
                               std::int64_t* count, void* workspace,
                               std::int64_t workspace_bytes,
                               cudaStream_t stream);

// Splats values [N, width], each point's scaled by point_scale [N] unless
// null, into rows [2, V, width] and blurs them; returns through `blurred`
// which half holds the result.
template <typename scalar_t>
cudaError_t lattice_splat_blur_cuda(const LatticeView<scalar_t>& lattice,
                                    const scalar_t* values,
                                    const scalar_t* point_scale,
                                    std::int64_t width, bool reverse,
                                    scalar_t* rows, const scalar_t** blurred,
                                    cudaStream_t stream);

// out [N, width] = splat, blur, slice; rows is scratch [2, V, width].
template <typename scalar_t>
cudaError_t lattice_filter_cuda(const LatticeView<scalar_t>& lattice,
                                const scalar_t* values,
                                const scalar_t* point_scale, std::int64_t width,
                                bool reverse, scalar_t* rows, scalar_t* out,
                                cudaStream_t stream);

}  // namespace deeplab
