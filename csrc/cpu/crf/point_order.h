// The order in which the mean field visits points.
#pragma once

#include <cstdint>
#include <vector>

#include "csrc/cpu/buffer.h"

namespace deeplab {

// The features [P, d] of one kernel.
template <typename scalar_t>
struct KernelFeatures {
  const scalar_t* data;
  int count;
};

// order [P]: a permutation of the points in which those that follow each other
// mostly share lattice vertices of all kernels: tiles of the kernel with the
// fewest features, and within a tile along a Morton curve through the features
// of the kernel with the most. Depends on the features alone.
template <typename scalar_t>
Buffer<std::int32_t> point_order(
    const std::vector<KernelFeatures<scalar_t>>& kernels, std::int64_t points);

}  // namespace deeplab
