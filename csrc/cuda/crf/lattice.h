// CUDA launchers of the permutohedral lattice of a batch. Asynchronous on
// `stream`; the same bits every time.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "csrc/core/crf/batch/sequence.h"

namespace deeplab {

// Bytes of scratch memory that numbering and linking share.
template <typename scalar_t>
std::int64_t lattice_build_bytes(const BatchBuild<scalar_t>& build);

// Embeds the points of `build` (its scratch arrays unset) and numbers the
// vertices; writes their count to device memory.
template <typename scalar_t>
cudaError_t lattice_number_cuda(BatchBuild<scalar_t> build, void* scratch,
                                cudaStream_t stream);

// Links the vertices, once their count is known; scratch as numbering left it.
template <typename scalar_t>
cudaError_t lattice_link_cuda(BatchBuild<scalar_t> build,
                              const BatchLinks& links, void* scratch,
                              cudaStream_t stream);

// Fills the splat's reading list of a linked lattice.
template <typename scalar_t>
std::int64_t splat_list_bytes(const BatchLattice<scalar_t>& lattice);
template <typename scalar_t>
cudaError_t splat_list_cuda(const BatchLattice<scalar_t>& lattice,
                            const std::int32_t* entries, void* scratch,
                            cudaStream_t stream);

// out [points, channels] = splat, blur, slice of values.
template <typename scalar_t>
std::int64_t lattice_filter_bytes(const BatchLattice<scalar_t>& lattice,
                                  std::int64_t channels);
template <typename scalar_t>
cudaError_t lattice_filter_cuda(const BatchLattice<scalar_t>& lattice,
                                const scalar_t* values, std::int64_t channels,
                                bool reverse, void* scratch, scalar_t* out,
                                cudaStream_t stream);

}  // namespace deeplab
