// Values of all labels point by point, each point's in a row padded to whole
// vectors.
#pragma once

#include <cstdint>

#include "csrc/cpu/crf/lattice_chunks.h"

namespace deeplab {

// Elements of P points' rows, which are stored in whole tiles.
inline std::int64_t rows_size(std::int64_t width, std::int64_t points) {
  return tile_count(points) * kPointTile * width;
}

// rows [rows_size] = factor * planes [L, P], the points in `order` [P] unless
// null; channels from L to width get infinity, the energy of no label.
template <typename scalar_t>
void planes_to_rows(const scalar_t* planes, scalar_t factor,
                    const std::int32_t* order, std::int64_t labels,
                    std::int64_t points, std::int64_t width, scalar_t* rows);

// The way back; leaves `rows` in another order.
template <typename scalar_t>
void rows_to_planes(scalar_t* rows, const std::int32_t* order,
                    std::int64_t labels, std::int64_t points,
                    std::int64_t width, scalar_t* planes);

}  // namespace deeplab
