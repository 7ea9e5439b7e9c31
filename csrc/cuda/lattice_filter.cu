#include <cuda_runtime.h>

#include "csrc/cuda/lattice.h"
#include "csrc/cuda/launch.cuh"

namespace deeplab {
namespace {

// One thread a vertex and channel, adding its entries in their order: no
// atomics, the same bits every time.
template <typename scalar_t>
__global__ void splat_kernel(LatticeView<scalar_t> lattice,
                             const scalar_t* values,
                             const scalar_t* point_scale, std::int64_t width,
                             scalar_t* rows) {
  const int corners = lattice.features + 1;
  for (std::int64_t k = first_index(); k < lattice.vertex_count * width;
       k += index_stride()) {
    const std::int64_t v = k / width;
    const std::int64_t c = k - v * width;
    scalar_t sum = 0;
    for (std::int32_t e = lattice.offsets[v]; e < lattice.offsets[v + 1]; ++e) {
      const std::int32_t entry = lattice.entries[e];
      const std::int64_t point = entry / corners;
      scalar_t weight = lattice.weights[entry];
      if (point_scale != nullptr) weight *= point_scale[point];
      sum += weight * values[point * width + c];
    }
    rows[k] = sum;
  }
}

template <typename scalar_t>
__global__ void blur_kernel(const std::int32_t* neighbors, int corners,
                            int axis, std::int64_t vertex_count,
                            std::int64_t width, const scalar_t* in,
                            scalar_t* out) {
  for (std::int64_t k = first_index(); k < vertex_count * width;
       k += index_stride()) {
    const std::int64_t v = k / width;
    const std::int64_t c = k - v * width;
    const std::int32_t* pair = neighbors + 2 * (v * corners + axis);
    const scalar_t before =
        pair[0] >= 0 ? in[std::int64_t(pair[0]) * width + c] : scalar_t(0);
    const scalar_t after =
        pair[1] >= 0 ? in[std::int64_t(pair[1]) * width + c] : scalar_t(0);
    out[k] = blur_step(in[k], before, after);
  }
}

template <typename scalar_t>
__global__ void slice_kernel(LatticeView<scalar_t> lattice,
                             const scalar_t* rows, scalar_t scale,
                             std::int64_t width, scalar_t* out) {
  const int corners = lattice.features + 1;
  for (std::int64_t k = first_index(); k < lattice.points * width;
       k += index_stride()) {
    const std::int64_t i = k / width;
    const std::int64_t c = k - i * width;
    scalar_t sum = 0;
    for (std::int64_t q = i * corners; q < (i + 1) * corners; ++q) {
      sum += lattice.weights[q] *
             rows[std::int64_t(lattice.vertices[q]) * width + c];
    }
    out[k] = scale * sum;
  }
}

}  // namespace

template <typename scalar_t>
cudaError_t lattice_splat_blur_cuda(const LatticeView<scalar_t>& lattice,
                                    const scalar_t* values,
                                    const scalar_t* point_scale,
                                    std::int64_t width, bool reverse,
                                    scalar_t* rows, const scalar_t** blurred,
                                    cudaStream_t stream) {
  const int corners = lattice.features + 1;
  const std::int64_t work = lattice.vertex_count * width;
  scalar_t* current = rows;
  scalar_t* next = rows + work;
  splat_kernel<<<blocks_for(work), kThreads, 0, stream>>>(
      lattice, values, point_scale, width, current);
  for (int k = 0; k < corners; ++k) {
    const int axis = reverse ? corners - 1 - k : k;
    blur_kernel<<<blocks_for(work), kThreads, 0, stream>>>(
        lattice.neighbors, corners, axis, lattice.vertex_count, width,
        static_cast<const scalar_t*>(current), next);
    scalar_t* done = next;
    next = current;
    current = done;
  }
  *blurred = current;
  return cudaGetLastError();
}

template <typename scalar_t>
cudaError_t lattice_filter_cuda(const LatticeView<scalar_t>& lattice,
                                const scalar_t* values,
                                const scalar_t* point_scale, std::int64_t width,
                                bool reverse, scalar_t* rows, scalar_t* out,
                                cudaStream_t stream) {
  const scalar_t* blurred = nullptr;
  const cudaError_t status = lattice_splat_blur_cuda(
      lattice, values, point_scale, width, reverse, rows, &blurred, stream);
  if (status != cudaSuccess) return status;
  slice_kernel<<<blocks_for(lattice.points * width), kThreads, 0, stream>>>(
      lattice, blurred, slice_scale<scalar_t>(lattice.features), width, out);
  return cudaGetLastError();
}

#define DEEPLAB_INSTANTIATE(scalar_t)                                 \
  template cudaError_t lattice_splat_blur_cuda(                       \
      const LatticeView<scalar_t>&, const scalar_t*, const scalar_t*, \
      std::int64_t, bool, scalar_t*, const scalar_t**, cudaStream_t); \
  template cudaError_t lattice_filter_cuda(                           \
      const LatticeView<scalar_t>&, const scalar_t*, const scalar_t*, \
      std::int64_t, bool, scalar_t*, scalar_t*, cudaStream_t);
DEEPLAB_INSTANTIATE(float)
DEEPLAB_INSTANTIATE(double)
#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
