// Vertex keys packed into 64 bits: a neighbour is then key + constant, and two
// keys compare at once. Bits are budgeted per coordinate from the features'
// actual range; where they do not fit, keys stay vectors of int32.
#pragma once

#include <cmath>
#include <cstdint>

#include "csrc/core/crf/lattice.h"
#include "csrc/core/macros.h"

namespace deeplab {

struct KeyPacking {
  bool fits;
  std::int32_t low[kMaxFeatures];
  int shift[kMaxFeatures];
  std::uint64_t ones;  // 1 in every coordinate
  int bits;            // of the whole key
};

// The packing for d features within [least, most] (each [d], finite).
template <typename scalar_t>
DEEPLAB_HD KeyPacking key_packing(const scalar_t* least, const scalar_t* most,
                                  int d) {
  KeyPacking packing{};
  // Elevated coordinate j is the sum of c_k, k >= j, less j c_{j - 1}, with
  // c_k = scale_k f_k; a vertex and its neighbours lie within 3 (d + 1).
  double sum_low = 0, sum_high = 0;
  int bits = 0;
  for (int j = d - 1; j >= 0; --j) {
    const double scale = feature_scale<scalar_t>(j, d);
    sum_low += scale * static_cast<double>(least[j]);
    sum_high += scale * static_cast<double>(most[j]);
    double low = sum_low, high = sum_high;
    if (j > 0) {
      const double before =
          j * static_cast<double>(feature_scale<scalar_t>(j - 1, d));
      low -= before * static_cast<double>(most[j - 1]);
      high -= before * static_cast<double>(least[j - 1]);
    }
    low = std::floor(low) - 3 * (d + 1);
    high = std::ceil(high) + 3 * (d + 1);
    if (!(low > -kMaxCoordinate && high < kMaxCoordinate)) return packing;
    packing.low[j] = static_cast<std::int32_t>(low);
    int width = 1;
    while (std::ldexp(1.0, width) <= high - low) ++width;
    packing.shift[j] = bits;
    if (bits + width > 64) return packing;
    packing.ones += std::uint64_t{1} << bits;
    bits += width;
  }
  packing.fits = true;
  packing.bits = bits;
  return packing;
}

// Packed keys [d + 1] of a simplex's vertices.
template <typename scalar_t, int kCapacity>
DEEPLAB_HD void pack_vertices(const Simplex<scalar_t, kCapacity>& simplex,
                              int d, const KeyPacking& packing,
                              std::uint64_t* codes) {
  std::uint64_t code = 0;
  for (int j = 0; j < d; ++j) {
    code += static_cast<std::uint64_t>(vertex_coordinate(simplex, 0, j, d) -
                                       packing.low[j])
            << packing.shift[j];
  }
  codes[0] = code;
  // From vertex q to q + 1 every coordinate grows by 1, and the one of rank d -
  // q falls by d + 1 (vertex_coordinate); the last coordinate is not stored.
  for (int q = 0; q < d; ++q) {
    code += packing.ones;
    for (int j = 0; j < d; ++j) {
      if (simplex.rank[j] == d - q) {
        code -= static_cast<std::uint64_t>(d + 1) << packing.shift[j];
      }
    }
    codes[q + 1] = code;
  }
}

// What neighbor_coordinate(.., direction 1, ..) adds to a packed key.
DEEPLAB_HD std::uint64_t packed_neighbor_step(const KeyPacking& packing,
                                              int axis, int d) {
  std::uint64_t step = 0 - packing.ones;
  if (axis < d)
    step += static_cast<std::uint64_t>(d + 1) << packing.shift[axis];
  return step;
}

DEEPLAB_HD std::uint64_t hash_code(std::uint64_t code) {
  code *= 0x9e3779b97f4a7c15ull;
  return code ^ (code >> 32);
}

}  // namespace deeplab
