#include <cuda_runtime.h>

#include <limits>

#include "csrc/cuda/exact.h"
#include "csrc/cuda/launch.cuh"
#include "csrc/cuda/meanfield_update.cuh"

namespace deeplab {
namespace {

// Threads a row of weights; each owns one point and a part of its channels.
constexpr int kGroups = 4;
constexpr int kBlockThreads = kExactBlock * kGroups;

// Channels a thread block accumulates at once, so that its tiles fit 48 KB of
// shared memory; wider rows take several passes.
template <typename scalar_t>
constexpr int kChannels = sizeof(scalar_t) == 8 ? 16 : 32;

template <typename scalar_t>
struct Boxes {
  const scalar_t* features;  // [P, d]
  const scalar_t* boxes;     // [blocks, 2, d]
  std::int64_t points;
  int d;
  scalar_t skip_below;
};

template <typename scalar_t>
__global__ void box_kernel(const scalar_t* features, std::int64_t points, int d,
                           scalar_t* boxes) {
  const std::int64_t blocks = (points + kExactBlock - 1) / kExactBlock;
  for (std::int64_t k = first_index(); k < blocks * d; k += index_stride()) {
    const std::int64_t b = k / d;
    const int j = static_cast<int>(k - b * d);
    const std::int64_t first = b * kExactBlock;
    const std::int64_t last =
        first + kExactBlock < points ? first + kExactBlock : points;
    scalar_t low = features[first * d + j];
    scalar_t high = low;
    for (std::int64_t i = first + 1; i < last; ++i) {
      const scalar_t value = features[i * d + j];
      low = value < low ? value : low;
      high = value > high ? value : high;
    }
    boxes[(b * 2) * d + j] = low;
    boxes[(b * 2 + 1) * d + j] = high;
  }
}

// One thread block a block of points: out [P, width] = output (or 1) * sum over
// all points of Gaussian weight * input (or 1) * value. Values null: ones.
template <typename scalar_t>
__global__ void __launch_bounds__(kBlockThreads)
    exact_kernel(Boxes<scalar_t> kernel, const scalar_t* values,
                 const scalar_t* input, std::int64_t width, scalar_t* out,
                 scalar_t* skipped) {
  constexpr int kWidth = kChannels<scalar_t>;
  constexpr int kPerThread = kWidth / kGroups;
  __shared__ scalar_t weights[kExactBlock][kExactBlock + 1];
  __shared__ scalar_t tile[kExactBlock][kWidth];
  const int row = threadIdx.x / kGroups;
  const int group = threadIdx.x % kGroups;
  const std::int64_t blocks = (kernel.points + kExactBlock - 1) / kExactBlock;
  for (std::int64_t b = blockIdx.x; b < blocks; b += gridDim.x) {
    const std::int64_t i = b * kExactBlock + row;
    const bool inside = i < kernel.points;
    for (std::int64_t c0 = 0; c0 < width; c0 += kWidth) {
      scalar_t sum[kPerThread];
      for (int k = 0; k < kPerThread; ++k) sum[k] = 0;
      scalar_t left_out = 0;
      for (std::int64_t other = 0; other < blocks; ++other) {
        const std::int64_t j0 = other * kExactBlock;
        const int columns = static_cast<int>(kernel.points - j0 < kExactBlock
                                                 ? kernel.points - j0
                                                 : kExactBlock);
        // The same for every thread of the block.
        if (kernel.skip_below > scalar_t(0)) {
          const scalar_t most = gaussian_weight(
              box_distance(kernel.boxes + b * 2 * kernel.d,
                           kernel.boxes + other * 2 * kernel.d, kernel.d));
          if (most < kernel.skip_below) {
            left_out += most * scalar_t(columns);
            continue;
          }
        }
        __syncthreads();
        for (int j = group; j < kExactBlock; j += kGroups) {
          scalar_t weight = 0;
          if (inside && j < columns) {
            scalar_t distance = 0;
            for (int f = 0; f < kernel.d; ++f) {
              const scalar_t gap = kernel.features[(j0 + j) * kernel.d + f] -
                                   kernel.features[i * kernel.d + f];
              distance += gap * gap;
            }
            weight = gaussian_weight(distance);
          }
          weights[row][j] = weight;
        }
        for (int k = threadIdx.x; k < kExactBlock * kWidth;
             k += kBlockThreads) {
          const int j = k / kWidth;
          const std::int64_t c = c0 + k % kWidth;
          scalar_t value = 0;
          if (j < columns && c < width) {
            value =
                values != nullptr ? values[(j0 + j) * width + c] : scalar_t(1);
            if (input != nullptr) value *= input[j0 + j];
          }
          tile[j][k % kWidth] = value;
        }
        __syncthreads();
        for (int j = 0; j < columns; ++j) {
          const scalar_t weight = weights[row][j];
          for (int k = 0; k < kPerThread; ++k) {
            sum[k] += weight * tile[j][group * kPerThread + k];
          }
        }
      }
      if (inside) {
        for (int k = 0; k < kPerThread; ++k) {
          const std::int64_t c = c0 + group * kPerThread + k;
          if (c < width) out[i * width + c] = sum[k];
        }
        if (skipped != nullptr && c0 == 0 && group == 0) skipped[i] = left_out;
      }
      __syncthreads();
    }
  }
}

template <typename scalar_t>
__global__ void factors_kernel(const scalar_t* norm, const scalar_t* skipped,
                               Normalization mode, scalar_t weight,
                               std::int64_t points, scalar_t* input,
                               scalar_t* output, scalar_t* ratio) {
  for (std::int64_t i = first_index(); i < points; i += index_stride()) {
    input[i] = input_scale(norm[i], mode);
    output[i] = weight * output_scale(norm[i], mode);
    ratio[i] = input[i] * skipped[i] / (norm[i] + norm_floor<scalar_t>());
  }
}

// Largest of `values`, by one thread block.
template <typename scalar_t, typename out_t>
__global__ void largest_kernel(const scalar_t* values, std::int64_t count,
                               std::int64_t stride, out_t* largest) {
  __shared__ scalar_t part[kWarp];
  scalar_t max = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    const scalar_t value = values[i * stride];
    max = value > max ? value : max;
  }
  max = warp_max(max);
  if (threadIdx.x % kWarp == 0) part[threadIdx.x / kWarp] = max;
  __syncthreads();
  if (threadIdx.x < kWarp) {
    max = threadIdx.x < blockDim.x / kWarp ? part[threadIdx.x] : scalar_t(0);
    max = warp_max(max);
    if (threadIdx.x == 0) *largest = max;
  }
}

template <typename scalar_t>
__global__ void error_kernel(const scalar_t* norm, const scalar_t* skipped,
                             const scalar_t* filtered_input,
                             const scalar_t* filtered_ratio,
                             const scalar_t* largest_input, scalar_t factor,
                             Normalization mode, std::int64_t points,
                             scalar_t* error) {
  for (std::int64_t i = first_index(); i < points; i += index_stride()) {
    error[i] = factor * skipping_error(norm[i], skipped[i], filtered_input[i],
                                       filtered_ratio[i], *largest_input, mode);
  }
}

// message (+)= output * filtered; its last channel gathers the shift of the
// logits.
template <typename scalar_t>
__global__ void gather_kernel(const scalar_t* filtered, const scalar_t* output,
                              const scalar_t* error, scalar_t gain,
                              bool accumulate, std::int64_t points,
                              std::int64_t width, scalar_t* message) {
  for (std::int64_t k = first_index(); k < points * width;
       k += index_stride()) {
    const std::int64_t i = k / width;
    const bool last = k - i * width == width - 1;
    const scalar_t part =
        last ? error[i] + gain * std::abs(output[i]) * filtered[k]
             : output[i] * filtered[k];
    message[k] = (accumulate ? message[k] : scalar_t(0)) + part;
  }
}

// Writes each point's error bound into its last channel.
template <typename scalar_t>
__global__ void bound_kernel(const scalar_t* message, std::int64_t points,
                             std::int64_t width, scalar_t* marginals) {
  for (std::int64_t i = first_index(); i < points; i += index_stride()) {
    scalar_t* q = marginals + i * width;
    scalar_t largest = 0;
    for (std::int64_t l = 0; l + 1 < width; ++l) {
      const scalar_t rest = scalar_t(1) - q[l];
      const scalar_t least = q[l] < rest ? q[l] : rest;
      largest = least > largest ? least : largest;
    }
    q[width - 1] = softmax_error(largest, message != nullptr
                                              ? message[i * width + width - 1]
                                              : scalar_t(0));
  }
}

// Per kernel: boxes, and norm, skipped, input, output, error, ratio, scratch.
constexpr int kArrays = 7;

template <typename scalar_t>
std::int64_t box_size(const ExactProblem<scalar_t>& problem, std::size_t m) {
  const std::int64_t blocks = (problem.points + kExactBlock - 1) / kExactBlock;
  return blocks * 2 * problem.dimensions[m];
}

}  // namespace

template <typename scalar_t>
std::int64_t exact_workspace_size(const ExactProblem<scalar_t>& problem) {
  // One channel more than labels carries the error bounds.
  std::int64_t size = 3 * problem.points * (problem.labels + 1) + 1;
  for (std::size_t m = 0; m < problem.features.size(); ++m) {
    size += box_size(problem, m) + kArrays * problem.points;
  }
  return size;
}

template <typename scalar_t>
cudaError_t meanfield_exact_cuda(const ExactProblem<scalar_t>& problem,
                                 double gain, scalar_t* workspace,
                                 scalar_t* out, double* error_bound,
                                 cudaStream_t stream) {
  const std::int64_t points = problem.points;
  const std::int64_t labels = problem.labels;
  const std::int64_t width = labels + 1;
  const std::int64_t blocks = (points + kExactBlock - 1) / kExactBlock;
  const unsigned grid = static_cast<unsigned>(
      blocks < (std::int64_t{1} << 20) ? blocks : (std::int64_t{1} << 20));
  scalar_t* at = workspace;
  const auto take = [&at](std::int64_t count) {
    scalar_t* here = at;
    at += count;
    return here;
  };
  scalar_t* marginals = take(points * width);
  scalar_t* filtered = take(points * width);
  scalar_t* message = take(points * width);
  scalar_t* largest = take(1);

  struct Kernel {
    Boxes<scalar_t> boxes;
    scalar_t *norm, *skipped, *input, *output, *error, *ratio, *scratch;
  };
  std::vector<Kernel> kernels;
  for (std::size_t m = 0; m < problem.features.size(); ++m) {
    scalar_t* boxes = take(box_size(problem, m));
    const int d = problem.dimensions[m];
    Kernel k{{problem.features[m], boxes, points, d,
              static_cast<scalar_t>(problem.skip_below)},
             take(points),
             take(points),
             take(points),
             take(points),
             take(points),
             take(points),
             take(points)};
    kernels.push_back(k);
    const auto weight = static_cast<scalar_t>(problem.weights[m]);
    const Normalization mode = problem.normalization;
    const unsigned many = blocks_for(points);
    box_kernel<<<blocks_for(blocks * d), kThreads, 0, stream>>>(
        problem.features[m], points, d, boxes);
    exact_kernel<scalar_t><<<grid, kBlockThreads, 0, stream>>>(
        k.boxes, nullptr, nullptr, 1, k.norm, k.skipped);
    factors_kernel<<<many, kThreads, 0, stream>>>(
        k.norm, k.skipped, mode, weight, points, k.input, k.output, k.ratio);
    if (problem.skip_below > 0) {
      // error holds the filtered input factors until it takes the result.
      exact_kernel<scalar_t><<<grid, kBlockThreads, 0, stream>>>(
          k.boxes, k.input, nullptr, 1, k.error, nullptr);
      exact_kernel<scalar_t><<<grid, kBlockThreads, 0, stream>>>(
          k.boxes, k.ratio, nullptr, 1, k.scratch, nullptr);
      largest_kernel<<<1, 1024, 0, stream>>>(k.input, points, std::int64_t{1},
                                             largest);
      error_kernel<<<many, kThreads, 0, stream>>>(
          k.norm, k.skipped, k.error, k.scratch, largest,
          static_cast<scalar_t>(std::abs(problem.weights[m]) * gain), mode,
          points, k.error);
    } else {
      fill_kernel<<<many, kThreads, 0, stream>>>(k.error, scalar_t(0), points);
    }
  }

  for (int iteration = 0; iteration <= problem.iterations; ++iteration) {
    const std::size_t used = iteration == 0 ? 0 : kernels.size();
    for (std::size_t m = 0; m < used; ++m) {
      const Kernel& k = kernels[m];
      exact_kernel<scalar_t><<<grid, kBlockThreads, 0, stream>>>(
          k.boxes, marginals, k.input, width, filtered, nullptr);
      gather_kernel<<<blocks_for(points * width), kThreads, 0, stream>>>(
          filtered, k.output, k.error, static_cast<scalar_t>(gain), m > 0,
          points, width, message);
    }
    const scalar_t* received = used > 0 ? message : nullptr;
    update_kernel<<<blocks_for(points * kWarp), kThreads, 0, stream>>>(
        problem.unary, received, points, static_cast<int>(labels), width,
        problem.kind, problem.compatibility, marginals);
    bound_kernel<<<blocks_for(points), kThreads, 0, stream>>>(received, points,
                                                              width, marginals);
  }
  largest_kernel<<<1, 1024, 0, stream>>>(marginals + labels, points, width,
                                         error_bound);
  transpose_kernel<<<blocks_for(points * labels), kThreads, 0, stream>>>(
      marginals, points, labels, width, out);
  return cudaGetLastError();
}

#define DEEPLAB_INSTANTIATE(scalar_t)                                        \
  template std::int64_t exact_workspace_size(const ExactProblem<scalar_t>&); \
  template cudaError_t meanfield_exact_cuda(const ExactProblem<scalar_t>&,   \
                                            double, scalar_t*, scalar_t*,    \
                                            double*, cudaStream_t);
DEEPLAB_INSTANTIATE(float)
DEEPLAB_INSTANTIATE(double)
#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
