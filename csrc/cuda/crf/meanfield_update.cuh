// The softmax half of an exact mean-field iteration.
#pragma once

#include <cuda_runtime.h>

#include "csrc/core/crf/meanfield.h"
#include "csrc/cuda/launch.cuh"

namespace deeplab {

constexpr unsigned kFullWarp = 0xffffffffu;
constexpr int kWarp = 32;

template <typename scalar_t>
__device__ scalar_t warp_max(scalar_t value) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const scalar_t other = __shfl_xor_sync(kFullWarp, value, step);
    value = other > value ? other : value;
  }
  return value;
}

template <typename scalar_t>
__device__ scalar_t warp_sum(scalar_t value) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value += __shfl_xor_sync(kFullWarp, value, step);
  }
  return value;
}

// One warp a point: marginals [P, L] = softmax(-U - pairwise energy) from unary
// [L, P] and message [P, L] (null: none), rows `stride` apart.
template <typename scalar_t>
__global__ void update_kernel(const scalar_t* unary, const scalar_t* message,
                              std::int64_t points, int labels,
                              std::int64_t stride, Compatibility kind,
                              const scalar_t* compatibility,
                              scalar_t* marginals) {
  const int lane = threadIdx.x % kWarp;
  const std::int64_t step = index_stride() / kWarp;
  for (std::int64_t i = first_index() / kWarp; i < points; i += step) {
    const scalar_t* own = message != nullptr ? message + i * stride : nullptr;
    const auto logit = [&](int l) {
      scalar_t value = -unary[l * points + i];
      if (own != nullptr) {
        value -= pairwise_energy(own, l, labels, kind, compatibility);
      }
      return value;
    };
    scalar_t* out = marginals + i * stride;
    scalar_t max = logit(0);
    for (int l = lane; l < labels; l += kWarp) {
      const scalar_t value = logit(l);
      out[l] = value;
      max = value > max ? value : max;
    }
    max = warp_max(max);
    scalar_t sum = 0;
    for (int l = lane; l < labels; l += kWarp) {
      const scalar_t e = exp_nonpositive(out[l] - max);
      out[l] = e;
      sum += e;
    }
    const scalar_t inverse = scalar_t(1) / warp_sum(sum);
    for (int l = lane; l < labels; l += kWarp) out[l] *= inverse;
  }
}

// rows [P, stride] -> [L, P]
template <typename scalar_t>
__global__ void transpose_kernel(const scalar_t* in, std::int64_t points,
                                 std::int64_t labels, std::int64_t stride,
                                 scalar_t* out) {
  for (std::int64_t k = first_index(); k < points * labels;
       k += index_stride()) {
    const std::int64_t l = k / points;
    out[k] = in[(k - l * points) * stride + l];
  }
}

template <typename scalar_t>
__global__ void fill_kernel(scalar_t* out, scalar_t value, std::int64_t n) {
  for (std::int64_t k = first_index(); k < n; k += index_stride()) {
    out[k] = value;
  }
}

}  // namespace deeplab
