#include <cuda_runtime.h>

#include <algorithm>

#include "csrc/cuda/lattice.h"
#include "csrc/cuda/launch.cuh"
#include "csrc/cuda/meanfield.h"
#include "csrc/cuda/meanfield_update.cuh"

namespace deeplab {
namespace {

// Per-point factors of a normalised kernel from its filtered ones.
template <typename scalar_t>
__global__ void scales_kernel(const scalar_t* norm, Normalization mode,
                              scalar_t constant, std::int64_t points,
                              scalar_t* input, scalar_t* output) {
  for (std::int64_t i = first_index(); i < points; i += index_stride()) {
    const scalar_t n = norm[i];
    input[i] = input_scale(n, mode);
    output[i] = constant * output_scale(n, mode);
  }
}

// message [P, L] (+)= scale * slice of blurred rows [V, L].
template <typename scalar_t>
__global__ void message_kernel(LatticeView<scalar_t> lattice,
                               const scalar_t* rows,
                               const scalar_t* point_scale, scalar_t constant,
                               bool accumulate, std::int64_t labels,
                               scalar_t* message) {
  const int corners = lattice.features + 1;
  for (std::int64_t k = first_index(); k < lattice.points * labels;
       k += index_stride()) {
    const std::int64_t i = k / labels;
    const std::int64_t l = k - i * labels;
    scalar_t sum = 0;
    for (std::int64_t q = i * corners; q < (i + 1) * corners; ++q) {
      sum += lattice.weights[q] *
             rows[std::int64_t(lattice.vertices[q]) * labels + l];
    }
    const scalar_t scale = point_scale != nullptr ? point_scale[i] : constant;
    message[k] = (accumulate ? message[k] : scalar_t(0)) + scale * sum;
  }
}

}  // namespace

template <typename scalar_t>
std::int64_t meanfield_workspace_size(
    const MeanfieldProblem<scalar_t>& problem) {
  std::int64_t rows = 0;
  for (const auto& lattice : problem.lattices) {
    rows = std::max(rows, 2 * lattice.vertex_count * problem.labels);
  }
  const auto kernels = static_cast<std::int64_t>(problem.lattices.size());
  return 2 * problem.points * problem.labels + rows +
         (2 * kernels + 2) * problem.points;
}

template <typename scalar_t>
cudaError_t meanfield_cuda(const MeanfieldProblem<scalar_t>& problem,
                           scalar_t* workspace, scalar_t* out,
                           cudaStream_t stream) {
  const std::int64_t points = problem.points;
  const std::int64_t labels = problem.labels;
  const bool normalized = problem.normalization != Normalization::kNo;
  scalar_t* marginals = workspace;                  // [P, L]
  scalar_t* message = marginals + points * labels;  // [P, L]
  scalar_t* ones = message + points * labels;       // [P]
  scalar_t* norm = ones + points;                   // [P]
  scalar_t* scales = norm + points;                 // [kernels, 2, P]
  scalar_t* rows = scales + 2 * problem.lattices.size() * points;

  const auto constant = [&](std::size_t m) {
    return static_cast<scalar_t>(problem.weights[m]) *
           slice_scale<scalar_t>(problem.lattices[m].features);
  };
  if (normalized) {
    fill_kernel<<<blocks_for(points), kThreads, 0, stream>>>(ones, scalar_t(1),
                                                             points);
    for (std::size_t m = 0; m < problem.lattices.size(); ++m) {
      const cudaError_t status = lattice_filter_cuda<scalar_t>(
          problem.lattices[m], ones, nullptr, 1, false, rows, norm, stream);
      if (status != cudaSuccess) return status;
      scales_kernel<<<blocks_for(points), kThreads, 0, stream>>>(
          norm, problem.normalization, constant(m), points,
          scales + 2 * m * points, scales + (2 * m + 1) * points);
    }
  }

  for (int iteration = 0; iteration <= problem.iterations; ++iteration) {
    // Round 0 has no messages yet: softmax(-U).
    const std::size_t kernels = iteration == 0 ? 0 : problem.lattices.size();
    for (std::size_t m = 0; m < kernels; ++m) {
      const LatticeView<scalar_t>& lattice = problem.lattices[m];
      const scalar_t* blurred = nullptr;
      const cudaError_t status = lattice_splat_blur_cuda<scalar_t>(
          lattice, marginals, normalized ? scales + 2 * m * points : nullptr,
          labels, false, rows, &blurred, stream);
      if (status != cudaSuccess) return status;
      message_kernel<<<blocks_for(points * labels), kThreads, 0, stream>>>(
          lattice, blurred,
          normalized ? scales + (2 * m + 1) * points : nullptr, constant(m),
          m > 0, labels, message);
    }
    update_kernel<<<blocks_for(points * kWarp), kThreads, 0, stream>>>(
        problem.unary, kernels > 0 ? message : nullptr, points,
        static_cast<int>(labels), labels, problem.kind, problem.compatibility,
        marginals);
  }
  transpose_kernel<<<blocks_for(points * labels), kThreads, 0, stream>>>(
      marginals, points, labels, labels, out);
  return cudaGetLastError();
}

#define DEEPLAB_INSTANTIATE(scalar_t)                                    \
  template std::int64_t meanfield_workspace_size(                        \
      const MeanfieldProblem<scalar_t>&);                                \
  template cudaError_t meanfield_cuda(const MeanfieldProblem<scalar_t>&, \
                                      scalar_t*, scalar_t*, cudaStream_t);
DEEPLAB_INSTANTIATE(float)
DEEPLAB_INSTANTIATE(double)
#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
