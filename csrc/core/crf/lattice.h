// The permutohedral lattice of Adams, Baek and Davis (2010), as the dense CRF
// code of Kraehenbuehl and Koltun (2011) computes it. One point at a time;
// shared by the CPU and the CUDA launchers.
//
// Legend: d features; e elevated coordinates (d + 1, summing to 0); remainder0
// the nearest lattice point of remainder 0; vertex q (0..d) of the enclosing
// simplex; axis j (0..d).
//
// All of it must round alike everywhere: build with floating-point contraction
// off, or points near a simplex face change sides.
#pragma once

#include <cmath>
#include <cstdint>

#include "csrc/core/macros.h"

namespace deeplab {

// Features a point may have. The bound keeps a point's scratch on the stack.
constexpr int kMaxFeatures = 64;

// Largest N (d + 1): entry indices and hash slots must fit int32.
constexpr std::int64_t kMaxLatticeEntries = std::int64_t{1} << 30;

// Coordinates beyond this could overflow an int32 key or its neighbours'.
constexpr double kMaxCoordinate = 1.0e9;

// A point's place in the lattice; kCapacity >= d.
template <typename scalar_t, int kCapacity>
struct Simplex {
  int remainder0[kCapacity + 1];
  int rank[kCapacity + 1];
  scalar_t barycentric[kCapacity + 2];  // weight of vertex q, q = 0..d
};

// Factor on feature j that gives one blur pass over all axes unit variance
// (inverse deviation sqrt(2/3) (d + 1)). In double precision with one rounding
// of the deviation, as the reference computes it: far from the origin the last
// bit decides the simplex.
template <typename scalar_t>
DEEPLAB_HD scalar_t feature_scale(int j, int d) {
  const auto inverse_deviation =
      static_cast<scalar_t>(std::sqrt(2.0 / 3.0) * (d + 1));
  return static_cast<scalar_t>(
      1.0 / std::sqrt(static_cast<double>((j + 1) * (j + 2))) *
      static_cast<double>(inverse_deviation));
}

// Nearest integer, ties to even, as the SSE path of the reference rounds.
DEEPLAB_HD float round_half_even(float x) {
#if defined(__CUDA_ARCH__)
  return rintf(x);
#else
  return std::nearbyint(x);
#endif
}
DEEPLAB_HD double round_half_even(double x) {
#if defined(__CUDA_ARCH__)
  return rint(x);
#else
  return std::nearbyint(x);
#endif
}

// Finds the simplex around `features` (d values, already divided by their
// standard deviations). `scales` holds feature_scale(j, d) for j < d. False
// when a feature is not finite or too far from the origin for int32 keys.
template <typename scalar_t, int kCapacity>
DEEPLAB_HD bool embed(const scalar_t* features, const scalar_t* scales, int d,
                      Simplex<scalar_t, kCapacity>& simplex) {
  scalar_t elevated[kCapacity + 1];
  scalar_t suffix = 0;
  for (int j = d; j > 0; --j) {
    const scalar_t c = features[j - 1] * scales[j - 1];
    elevated[j] = suffix - scalar_t(j) * c;
    suffix += c;
  }
  elevated[0] = suffix;

  const scalar_t down = scalar_t(1) / scalar_t(d + 1);
  int sum = 0;
  for (int j = 0; j <= d; ++j) {
    // Written so that NaN fails too.
    if (!(std::abs(elevated[j]) < scalar_t(kMaxCoordinate))) return false;
    const int v = static_cast<int>(round_half_even(elevated[j] * down));
    simplex.remainder0[j] = v * (d + 1);
    sum += v;
  }

  for (int j = 0; j <= d; ++j) simplex.rank[j] = 0;
  for (int a = 0; a < d; ++a) {
    const scalar_t delta = elevated[a] - scalar_t(simplex.remainder0[a]);
    for (int b = a + 1; b <= d; ++b) {
      // The largest residual gets rank 0; ties favour the lower index.
      if (delta < elevated[b] - scalar_t(simplex.remainder0[b])) {
        ++simplex.rank[a];
      } else {
        ++simplex.rank[b];
      }
    }
  }
  // A sum other than 0 means the rounded point left the plane: wrap around.
  for (int j = 0; j <= d; ++j) {
    simplex.rank[j] += sum;
    if (simplex.rank[j] < 0) {
      simplex.rank[j] += d + 1;
      simplex.remainder0[j] += d + 1;
    } else if (simplex.rank[j] > d) {
      simplex.rank[j] -= d + 1;
      simplex.remainder0[j] -= d + 1;
    }
    // So far out that rounding leaves the plane by more than one simplex.
    if (simplex.rank[j] < 0 || simplex.rank[j] > d) return false;
  }

  for (int q = 0; q <= d + 1; ++q) simplex.barycentric[q] = 0;
  for (int j = 0; j <= d; ++j) {
    const scalar_t t = (elevated[j] - scalar_t(simplex.remainder0[j])) * down;
    simplex.barycentric[d - simplex.rank[j]] += t;
    simplex.barycentric[d + 1 - simplex.rank[j]] -= t;
  }
  simplex.barycentric[0] += scalar_t(1) + simplex.barycentric[d + 1];
  return true;
}

// Coordinate j < d of vertex q; the last coordinate follows from the others.
template <typename scalar_t, int kCapacity>
DEEPLAB_HD int vertex_coordinate(const Simplex<scalar_t, kCapacity>& simplex,
                                 int q, int j, int d) {
  const int shift = simplex.rank[j] > d - q ? d + 1 : 0;
  return simplex.remainder0[j] + q - shift;
}

// Stored coordinate j < d of the neighbour of `coordinate` along `axis`
// (0..d); direction +1 or -1. Axis d moves every stored coordinate alike.
DEEPLAB_HD int neighbor_coordinate(int coordinate, int j, int axis,
                                   int direction, int d) {
  return j == axis ? coordinate + direction * d : coordinate - direction;
}

// 64-bit mix of a vertex's d stored coordinates.
DEEPLAB_HD std::uint64_t hash_key(const int* key, int d) {
  std::uint64_t h = 0x9e3779b97f4a7c15ull;
  for (int j = 0; j < d; ++j) {
    h ^= static_cast<std::uint32_t>(key[j]);
    h *= 0xff51afd7ed558ccdull;
    h ^= h >> 32;
  }
  return h;
}

DEEPLAB_HD bool same_key(const int* a, const int* b, int d) {
  for (int j = 0; j < d; ++j) {
    if (a[j] != b[j]) return false;
  }
  return true;
}

// One blur step along an axis; an absent neighbour counts as 0.
template <typename scalar_t>
DEEPLAB_HD scalar_t blur_step(scalar_t center, scalar_t before,
                              scalar_t after) {
  return center + scalar_t(0.5) * (before + after);
}

// Normalises the blur's gain: 1 / (1 + 2^-d).
template <typename scalar_t>
DEEPLAB_HD scalar_t slice_scale(int d) {
  return scalar_t(1) / (scalar_t(1) + std::pow(scalar_t(2), scalar_t(-d)));
}

// A built lattice over N points: plain pointers, no ownership.
template <typename scalar_t>
struct LatticeView {
  std::int64_t points;
  int features;
  std::int64_t vertex_count;
  const std::int32_t* vertices;   // [N, d + 1]
  const scalar_t* weights;        // [N, d + 1]
  const std::int32_t* neighbors;  // [V, d + 1, 2], -1 where there is none
  const std::int32_t* entries;    // [N (d + 1)] grouped by vertex, ascending
  const std::int32_t* offsets;    // [V + 1] into entries
};

// Where a build writes; sizes as in LatticeView, with the worst case of N (d +
// 1) vertices.
template <typename scalar_t>
struct LatticeBuffers {
  std::int32_t* vertices;
  scalar_t* weights;
  std::int32_t* neighbors;
  std::int32_t* entries;
  std::int32_t* offsets;
};

}  // namespace deeplab
