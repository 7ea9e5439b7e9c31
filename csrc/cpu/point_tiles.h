// Values of all labels tile of points by tile, so that a tile's are read in one
// stream: [tiles, L, kPointTile], 0 past the last point.
#pragma once

#include <cstdint>

#include "csrc/cpu/lattice_chunks.h"

namespace deeplab {

// Elements of the tiles of L labels and P points.
inline std::int64_t tiles_size(std::int64_t labels, std::int64_t points) {
  return (points + kPointTile - 1) / kPointTile * kPointTile * labels;
}

// tiles = planes [L, P], the points in `order` [P] unless null.
template <typename scalar_t>
void planes_to_tiles(const scalar_t* planes, const std::int32_t* order,
                     std::int64_t labels, std::int64_t points, scalar_t* tiles);

// The way back.
template <typename scalar_t>
void tiles_to_planes(const scalar_t* tiles, const std::int32_t* order,
                     std::int64_t labels, std::int64_t points,
                     scalar_t* planes);

}  // namespace deeplab
