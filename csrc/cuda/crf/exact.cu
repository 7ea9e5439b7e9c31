#include <cuda_runtime.h>

#include <vector>

#include "csrc/core/arena.h"
#include "csrc/core/crf/exact_pairs.h"
#include "csrc/cuda/crf/exact.h"
#include "csrc/cuda/crf/meanfield_update.cuh"
#include "csrc/cuda/launch.cuh"

namespace deeplab {
namespace {

// A thread block of 16 x 8 threads holds 64 points by 32 channels (16 in double
// precision): each thread 4 points by kPerThread channels in registers. Wider
// rows take several passes.
constexpr int kRowsPerThread = 4;
constexpr int kRowGroups = kExactBlock / kRowsPerThread;
constexpr int kChannelGroups = 8;
constexpr int kBlockThreads = kRowGroups * kChannelGroups;
template <typename scalar_t>
constexpr int kPerThread = 16 / static_cast<int>(sizeof(scalar_t));
template <typename scalar_t>
constexpr int kChannels = kChannelGroups* kPerThread<scalar_t>;

// Values that a thread moves at once.
template <typename scalar_t>
struct alignas(16) Quad {
  scalar_t values[kPerThread<scalar_t>];
};

// exp(-x) for x >= 0. The hardware's approximation of 2^x is good to 2e-7, its
// argument to 2^-24 x: weights above 1e-8 are good to 2e-6.
__device__ __forceinline__ float weight_of(float half_distance) {
  return __expf(-half_distance);
}
__device__ __forceinline__ double weight_of(double half_distance) {
  return exp_nonpositive(-half_distance);
}

// Features [d, P] as rows of one feature each.
template <typename scalar_t>
__global__ void by_feature_kernel(const scalar_t* features, std::int64_t points,
                                  int d, scalar_t* out) {
  for (std::int64_t k = first_index(); k < points * d; k += index_stride()) {
    const std::int64_t j = k / points;
    out[k] = features[(k - j * points) * d + j];
  }
}

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

// What the filter reads of one kernel.
template <typename scalar_t>
struct Pairs {
  const scalar_t* by_feature;  // [d, P]
  std::int64_t points;
  int d;
  const std::uint32_t* kept;  // [blocks, words]; null: all
};

// One thread block a block of points: out [P, width] = sum over the kept pairs
// of Gaussian weight * input (or 1) * value. Values null: ones.
template <typename scalar_t>
__global__ void __launch_bounds__(kBlockThreads)
    exact_kernel(Pairs<scalar_t> kernel, const scalar_t* values,
                 const scalar_t* input, std::int64_t width, scalar_t* out) {
  constexpr int kWidth = kChannels<scalar_t>;
  constexpr int kOwn = kPerThread<scalar_t>;
  // Padded by one vector: columns of a row then begin in different banks.
  __shared__ alignas(16)
      scalar_t weights[kExactBlock][kExactBlock + 16 / sizeof(scalar_t)];
  __shared__ alignas(16) scalar_t tile[kExactBlock][kWidth];
  const int row_group = threadIdx.x / kChannelGroups;
  const int channel_group = threadIdx.x % kChannelGroups;
  const std::int64_t blocks = (kernel.points + kExactBlock - 1) / kExactBlock;
  const std::int64_t words = pair_words(blocks);
  for (std::int64_t b = blockIdx.x; b < blocks; b += gridDim.x) {
    const std::int64_t i0 = b * kExactBlock;
    for (std::int64_t c0 = 0; c0 < width; c0 += kWidth) {
      scalar_t sum[kRowsPerThread][kOwn];
      for (int r = 0; r < kRowsPerThread; ++r) {
        for (int c = 0; c < kOwn; ++c) sum[r][c] = 0;
      }
      for (std::int64_t word = 0; word < words; ++word) {
        // The same for every thread of the block.
        std::uint32_t left = kernel.kept != nullptr
                                 ? kernel.kept[b * words + word]
                                 : pairs_present(blocks, word);
        for (; left != 0; left &= left - 1) {
          const std::int64_t other = word * 32 + __ffs(left) - 1;
          const std::int64_t j0 = other * kExactBlock;
          const int columns = static_cast<int>(kernel.points - j0 < kExactBlock
                                                   ? kernel.points - j0
                                                   : kExactBlock);
          __syncthreads();
          for (int k = threadIdx.x; k < kExactBlock * kExactBlock;
               k += kBlockThreads) {
            const int row = k % kExactBlock;
            const int j = k / kExactBlock;
            scalar_t weight = 0;
            if (i0 + row < kernel.points && j < columns) {
              scalar_t distance = 0;
              for (int f = 0; f < kernel.d; ++f) {
                const scalar_t* feature = kernel.by_feature + f * kernel.points;
                const scalar_t gap = feature[j0 + j] - feature[i0 + row];
                distance = fma(gap, gap, distance);
              }
              weight = weight_of(scalar_t(0.5) * distance);
            }
            weights[j][row] = weight;
          }
          for (int k = threadIdx.x; k < kExactBlock * kWidth;
               k += kBlockThreads) {
            const int j = k / kWidth;
            const std::int64_t c = c0 + k % kWidth;
            scalar_t value = 0;
            if (j < columns && c < width) {
              value = values != nullptr ? values[(j0 + j) * width + c]
                                        : scalar_t(1);
              if (input != nullptr) value *= input[j0 + j];
            }
            tile[j][k % kWidth] = value;
          }
          __syncthreads();
          // Columns beyond the last point have weight 0.
          for (int j = 0; j < kExactBlock; ++j) {
            scalar_t own[kRowsPerThread];
            for (int r = 0; r < kRowsPerThread; r += kOwn) {
              const auto part = *reinterpret_cast<const Quad<scalar_t>*>(
                  &weights[j][row_group * kRowsPerThread + r]);
              for (int c = 0; c < kOwn; ++c) own[r + c] = part.values[c];
            }
            const auto value = *reinterpret_cast<const Quad<scalar_t>*>(
                &tile[j][channel_group * kOwn]);
            for (int r = 0; r < kRowsPerThread; ++r) {
              for (int c = 0; c < kOwn; ++c) {
                sum[r][c] = fma(own[r], value.values[c], sum[r][c]);
              }
            }
          }
        }
      }
      for (int r = 0; r < kRowsPerThread; ++r) {
        const std::int64_t i = i0 + row_group * kRowsPerThread + r;
        for (int k = 0; k < kOwn; ++k) {
          const std::int64_t c = c0 + channel_group * kOwn + k;
          if (i < kernel.points && c < width) out[i * width + c] = sum[r][k];
        }
      }
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
    ratio[i] = input[i] * skipped[i / kExactBlock] /
               (norm[i] + norm_floor<scalar_t>());
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
    error[i] = factor * skipping_error(norm[i], skipped[i / kExactBlock],
                                       filtered_input[i], filtered_ratio[i],
                                       *largest_input, mode);
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

// One kernel's memory.
template <typename scalar_t>
struct KernelMemory {
  Pairs<scalar_t> pairs;
  scalar_t *by_feature, *boxes, *skipped;
  std::uint32_t* kept;
  scalar_t *norm, *input, *output, *error, *ratio, *scratch;  // [P] each
};

template <typename scalar_t>
struct Memory {
  scalar_t *marginals, *filtered, *message;  // [P, L + 1]
  scalar_t* largest;
  std::vector<KernelMemory<scalar_t>> kernels;

  Memory(const ExactProblem<scalar_t>& problem, Arena& arena) {
    const std::int64_t points = problem.points;
    const std::int64_t blocks = (points + kExactBlock - 1) / kExactBlock;
    // One channel more than labels carries the error bounds.
    const std::int64_t wide = points * (problem.labels + 1);
    marginals = arena.take<scalar_t>(wide);
    filtered = arena.take<scalar_t>(wide);
    message = arena.take<scalar_t>(wide);
    largest = arena.take<scalar_t>(1);
    for (int d : problem.dimensions) {
      KernelMemory<scalar_t> k{};
      k.by_feature = arena.take<scalar_t>(points * d);
      k.boxes = arena.take<scalar_t>(blocks * 2 * d);
      k.skipped = arena.take<scalar_t>(blocks);
      k.kept = problem.skip_below > 0
                   ? arena.take<std::uint32_t>(blocks * pair_words(blocks))
                   : nullptr;
      for (scalar_t** each :
           {&k.norm, &k.input, &k.output, &k.error, &k.ratio, &k.scratch}) {
        *each = arena.take<scalar_t>(points);
      }
      k.pairs = {k.by_feature, points, d, k.kept};
      kernels.push_back(k);
    }
  }
};

}  // namespace

template <typename scalar_t>
std::int64_t exact_workspace_bytes(const ExactProblem<scalar_t>& problem) {
  Arena measure;
  Memory<scalar_t>(problem, measure);
  return measure.bytes();
}

template <typename scalar_t>
cudaError_t meanfield_exact_cuda(const ExactProblem<scalar_t>& problem,
                                 double gain, void* workspace, scalar_t* out,
                                 double* error_bound, cudaStream_t stream) {
  const std::int64_t points = problem.points;
  const std::int64_t labels = problem.labels;
  const std::int64_t width = labels + 1;
  const std::int64_t blocks = (points + kExactBlock - 1) / kExactBlock;
  const unsigned grid = static_cast<unsigned>(
      blocks < (std::int64_t{1} << 20) ? blocks : (std::int64_t{1} << 20));
  Arena arena(workspace);
  const Memory<scalar_t> memory(problem, arena);
  scalar_t* marginals = memory.marginals;
  scalar_t* filtered = memory.filtered;
  scalar_t* message = memory.message;
  scalar_t* largest = memory.largest;
  const std::vector<KernelMemory<scalar_t>>& kernels = memory.kernels;

  for (std::size_t m = 0; m < kernels.size(); ++m) {
    const KernelMemory<scalar_t>& k = kernels[m];
    const int d = problem.dimensions[m];
    const auto weight = static_cast<scalar_t>(problem.weights[m]);
    const Normalization mode = problem.normalization;
    const unsigned many = blocks_for(points);
    by_feature_kernel<<<blocks_for(points * d), kThreads, 0, stream>>>(
        problem.features[m], points, d, k.by_feature);
    if (problem.skip_below > 0) {
      box_kernel<<<blocks_for(blocks * d), kThreads, 0, stream>>>(
          problem.features[m], points, d, k.boxes);
      const ExactBoxes<scalar_t> boxes{
          k.boxes, points, d, static_cast<scalar_t>(problem.skip_below)};
      const std::int64_t words = blocks * pair_words(blocks);
      for_each_kernel<<<blocks_for(words), kThreads, 0, stream>>>(
          KeptPairsAt<scalar_t>{boxes, k.kept}, words);
      for_each_kernel<<<blocks_for(blocks), kThreads, 0, stream>>>(
          SkippedWeightAt<scalar_t>{boxes, k.skipped}, blocks);
    } else {
      fill_kernel<<<blocks_for(blocks), kThreads, 0, stream>>>(
          k.skipped, scalar_t(0), blocks);
    }
    exact_kernel<scalar_t><<<grid, kBlockThreads, 0, stream>>>(
        k.pairs, nullptr, nullptr, 1, k.norm);
    factors_kernel<<<many, kThreads, 0, stream>>>(
        k.norm, k.skipped, mode, weight, points, k.input, k.output, k.ratio);
    if (problem.skip_below > 0) {
      // error holds the filtered input factors until it takes the result.
      exact_kernel<scalar_t><<<grid, kBlockThreads, 0, stream>>>(
          k.pairs, k.input, nullptr, 1, k.error);
      exact_kernel<scalar_t><<<grid, kBlockThreads, 0, stream>>>(
          k.pairs, k.ratio, nullptr, 1, k.scratch);
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
      const KernelMemory<scalar_t>& k = kernels[m];
      exact_kernel<scalar_t><<<grid, kBlockThreads, 0, stream>>>(
          k.pairs, marginals, k.input, width, filtered);
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

#define DEEPLAB_INSTANTIATE(scalar_t)                                          \
  template std::int64_t exact_workspace_bytes(const ExactProblem<scalar_t>&);  \
  template cudaError_t meanfield_exact_cuda(const ExactProblem<scalar_t>&,     \
                                            double, void*, scalar_t*, double*, \
                                            cudaStream_t);
DEEPLAB_INSTANTIATE(float)
DEEPLAB_INSTANTIATE(double)
#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
