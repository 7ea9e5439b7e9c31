// A persistent kernel: every block takes tiles of the plan in turn, so that
// which block makes a tile never matters to its result.
#include <mma.h>

#include <algorithm>

#include "csrc/core/conv/products.h"
#include "csrc/cuda/conv/pyramid.h"
#include "csrc/cuda/conv/pyramid_tile.cuh"
#include "csrc/cuda/conv/sum_types.h"

namespace deeplab {
namespace {

constexpr int kWarps = kPyramidThreads / 32;

// Sums of a tile into the output; `column` and `row` lie inside the tile.
template <typename T>
__device__ __forceinline__ void store(const PyramidPlan& plan,
                                      const PyramidArrays<T>& arrays,
                                      const PyramidTile& tile,
                                      std::int32_t pixel, int column,
                                      float sum) {
  const int filter = tile.first_filter + column;
  if (pixel < 0 || filter >= plan.filters) return;
  const Finish<T> finish = {arrays.biases[tile.output], arrays.relu};
  arrays.outputs[tile.output][std::int64_t{pixel} * plan.filters + filter] =
      SumOf<T>::narrow(finish(sum, static_cast<std::uint32_t>(filter)));
}

// Sums in float32 without tensor cores.
struct PlainMath {
  using T = float;
  using Stage = PyramidStage<float>;
  static constexpr int kSide = PlainSums::kSide;
  static constexpr std::size_t kScratchBytes = 0;

  float sums[kSide][kSide];

  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < kSide; ++i) {
#pragma unroll
      for (int j = 0; j < kSide; ++j) sums[i][j] = 0;
    }
  }

  static __device__ int row(int i) { return PlainSums::row(threadIdx.x, i); }
  static __device__ int column(int j) {
    return PlainSums::column(threadIdx.x, j);
  }

  __device__ void multiply(const Stage& stage) {
#pragma unroll
    for (int k = 0; k < Stage::kDepth; k += 4) {
      float4 samples[kSide];
#pragma unroll
      for (int i = 0; i < kSide; ++i) {
        samples[i] = *reinterpret_cast<const float4*>(
            stage.samples + row(i) * Stage::kSampleRow + k);
      }
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        const float* weights = stage.weights + (k + step) * Stage::kWeightRow;
        const float4 low =
            *reinterpret_cast<const float4*>(weights + column(0));
        const float4 high =
            *reinterpret_cast<const float4*>(weights + column(4));
        const float row_of_weights[kSide] = {low.x,  low.y,  low.z,  low.w,
                                             high.x, high.y, high.z, high.w};
#pragma unroll
        for (int i = 0; i < kSide; ++i) {
          const float sample = step == 0   ? samples[i].x
                               : step == 1 ? samples[i].y
                               : step == 2 ? samples[i].z
                                           : samples[i].w;
#pragma unroll
          for (int j = 0; j < kSide; ++j) {
            // Named: the build takes contraction away.
            sums[i][j] = __fmaf_rn(sample, row_of_weights[j], sums[i][j]);
          }
        }
      }
    }
  }

  __device__ void finish(const PyramidPlan& plan,
                         const PyramidArrays<float>& arrays,
                         const PyramidTile& tile, void*) const {
#pragma unroll
    for (int i = 0; i < kSide; ++i) {
      const std::int32_t pixel = tile.place(plan, row(i)).output;
#pragma unroll
      for (int j = 0; j < kSide; ++j) {
        store(plan, arrays, tile, pixel, column(j), sums[i][j]);
      }
    }
  }
};

#if __CUDA_ARCH__ >= 800
// What tensor cores make of T.
template <typename T>
struct Operand {
  using Type = T;
  static constexpr int kStep = 16;
};
template <>
struct Operand<float> {
  using Type = nvcuda::wmma::precision::tf32;
  static constexpr int kStep = 8;
};
#endif

// Two by four warps of 64 x 32 sums in fragments of 16 x 16.
template <typename Element>
struct TensorMath {
  using T = Element;
  using Stage = PyramidStage<T>;
  static constexpr int kSide = 16;
  static constexpr int kScratchRow = kSide + 4;
  // Of one fragment a warp; it lies on the stages.
  static constexpr std::size_t kScratchBytes =
      sizeof(float) * kWarps * kSide * kScratchRow;

#if __CUDA_ARCH__ >= 800
  static constexpr int kStep = Operand<T>::kStep;
  static constexpr int kDown = 4;
  static constexpr int kAcross = 2;
  using Samples = nvcuda::wmma::fragment<nvcuda::wmma::matrix_a, kSide, kSide,
                                         kStep, typename Operand<T>::Type,
                                         nvcuda::wmma::row_major>;
  using Weights = nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, kSide, kSide,
                                         kStep, typename Operand<T>::Type,
                                         nvcuda::wmma::row_major>;
  using Sums = nvcuda::wmma::fragment<nvcuda::wmma::accumulator, kSide, kSide,
                                      kStep, float>;

  Sums sums[kDown][kAcross];

  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < kDown; ++i) {
#pragma unroll
      for (int j = 0; j < kAcross; ++j) {
        nvcuda::wmma::fill_fragment(sums[i][j], 0.0f);
      }
    }
  }

  static __device__ int row(int i) {
    return threadIdx.x / 32 / 4 * (kDown * kSide) + i * kSide;
  }
  static __device__ int column(int j) {
    return threadIdx.x / 32 % 4 * (kAcross * kSide) + j * kSide;
  }

  template <typename Fragment>
  static __device__ void round(Fragment& fragment) {
    if constexpr (sizeof(T) == sizeof(float)) {
#pragma unroll
      for (int i = 0; i < fragment.num_elements; ++i) {
        fragment.x[i] = nvcuda::wmma::__float_to_tf32(fragment.x[i]);
      }
    }
  }

  __device__ void multiply(const Stage& stage) {
#pragma unroll
    for (int k = 0; k < Stage::kDepth; k += kStep) {
      Weights weights[kAcross];
#pragma unroll
      for (int j = 0; j < kAcross; ++j) {
        nvcuda::wmma::load_matrix_sync(
            weights[j], stage.weights + k * Stage::kWeightRow + column(j),
            Stage::kWeightRow);
        round(weights[j]);
      }
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
        Samples samples;
        nvcuda::wmma::load_matrix_sync(
            samples, stage.samples + row(i) * Stage::kSampleRow + k,
            Stage::kSampleRow);
        round(samples);
#pragma unroll
        for (int j = 0; j < kAcross; ++j) {
          nvcuda::wmma::mma_sync(sums[i][j], samples, weights[j], sums[i][j]);
        }
      }
    }
  }

  __device__ void finish(const PyramidPlan& plan,
                         const PyramidArrays<T>& arrays,
                         const PyramidTile& tile, void* scratch) const {
    float* own =
        static_cast<float*>(scratch) + threadIdx.x / 32 * (kSide * kScratchRow);
    const int lane = threadIdx.x % 32;
    const int across = lane % kSide;
#pragma unroll
    for (int i = 0; i < kDown; ++i) {
#pragma unroll
      for (int j = 0; j < kAcross; ++j) {
        nvcuda::wmma::store_matrix_sync(own, sums[i][j], kScratchRow,
                                        nvcuda::wmma::mem_row_major);
        __syncwarp();
        for (int down = lane / kSide; down < kSide; down += 32 / kSide) {
          const std::int32_t pixel = tile.place(plan, row(i) + down).output;
          store(plan, arrays, tile, pixel, column(j) + across,
                own[down * kScratchRow + across]);
        }
        __syncwarp();
      }
    }
  }
#else
  __device__ void clear() {}
  __device__ void multiply(const Stage&) {}
  __device__ void finish(const PyramidPlan&, const PyramidArrays<T>&,
                         const PyramidTile&, void*) const {}
#endif
};

template <typename Math>
__global__ void __launch_bounds__(kPyramidThreads) pyramid_kernel(
    const __grid_constant__ PyramidPlan plan,
    const __grid_constant__ PyramidArrays<typename Math::T> arrays) {
  using T = typename Math::T;
  using Stage = PyramidStage<T>;
  static_assert(Math::kScratchBytes <= sizeof(Stage) * kPyramidStages,
                "the scratch memory lies on the stages");
  // wmma reads from addresses that are multiples of 32 bytes.
  extern __shared__ __align__(128) unsigned char memory[];
  Stage* stages = reinterpret_cast<Stage*>(memory);
  for (int index = blockIdx.x; index < plan.tiles; index += gridDim.x) {
    const PyramidTile tile(plan, index);
    PyramidLoader<T, CopyUnit> loader(plan, arrays, tile, threadIdx.x);
    Math math;
    math.clear();
    // One group of copies a step, empty ones at the end, so that the count of
    // those under way is always the same.
    int loaded = 0;
#pragma unroll
    for (int i = 0; i < kPyramidStages - 1; ++i) {
      if (!loader.done()) loader.load(&stages[loaded++]);
      end_of_copies();
    }
    for (int step = 0; step < loaded; ++step) {
      wait_for_copies<kPyramidStages - 2>();
      // This step's stage is there for all threads, and all have left the one
      // that is filled next.
      __syncthreads();
      if (!loader.done()) {
        loader.load(&stages[loaded % kPyramidStages]);
        ++loaded;
      }
      end_of_copies();
      math.multiply(stages[step % kPyramidStages]);
    }
    wait_for_copies<0>();
    __syncthreads();
    math.finish(plan, arrays, tile, memory);
    __syncthreads();
  }
}

template <typename Math>
cudaError_t launch(const PyramidPlan& plan,
                   const PyramidArrays<typename Math::T>& arrays,
                   cudaStream_t stream) {
  constexpr int kBytes =
      static_cast<int>(sizeof(PyramidStage<typename Math::T>)) * kPyramidStages;
  int device = 0;
  int processors = 0;
  int resident = 0;
  cudaError_t status = cudaGetDevice(&device);
  if (status != cudaSuccess) return status;
  status = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount,
                                  device);
  if (status != cudaSuccess) return status;
  status =
      cudaFuncSetAttribute(pyramid_kernel<Math>,
                           cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (status != cudaSuccess) return status;
  status = cudaOccupancyMaxActiveBlocksPerMultiprocessor(
      &resident, pyramid_kernel<Math>, kPyramidThreads, kBytes);
  if (status != cudaSuccess) return status;
  const int blocks = std::min(plan.tiles, std::max(1, processors * resident));
  pyramid_kernel<Math>
      <<<blocks, kPyramidThreads, kBytes, stream>>>(plan, arrays);
  return cudaGetLastError();
}

}  // namespace

template <typename T>
cudaError_t pyramid_cuda(const PyramidPlan& plan,
                         const PyramidArrays<T>& arrays, PyramidMath math,
                         cudaStream_t stream) {
  if (plan.tiles == 0) return cudaSuccess;
  int device = 0;
  int major = 0;
  cudaError_t status = cudaGetDevice(&device);
  if (status != cudaSuccess) return status;
  status =
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  if (status != cudaSuccess) return status;
  if constexpr (sizeof(T) == sizeof(float)) {
    if (math == PyramidMath::kPlain || major < 8) {
      return launch<PlainMath>(plan, arrays, stream);
    }
  }
  if (major < 8) return cudaErrorNotSupported;
  return launch<TensorMath<T>>(plan, arrays, stream);
}

template cudaError_t pyramid_cuda(const PyramidPlan&,
                                  const PyramidArrays<float>&, PyramidMath,
                                  cudaStream_t);
template cudaError_t pyramid_cuda(const PyramidPlan&,
                                  const PyramidArrays<__half>&, PyramidMath,
                                  cudaStream_t);
template cudaError_t pyramid_cuda(const PyramidPlan&,
                                  const PyramidArrays<__nv_bfloat16>&,
                                  PyramidMath, cudaStream_t);

}  // namespace deeplab
