#include "csrc/cpu/point_tiles.h"

#include <algorithm>

#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

// Points whose places in a plane stay in the cache while all labels pass.
constexpr std::int64_t kBlockTiles = 256;

// Calls move(position in planes, position in tiles) for every value of points
// [begin, end), label by label. Places are widened once, and whole tiles have a
// fixed length.
template <typename Move>
void for_each_value(const std::int32_t* order, std::int64_t labels,
                    std::int64_t points, std::int64_t begin, std::int64_t end,
                    const Move& move) {
  std::int32_t place[kBlockTiles * kPointTile];
  for (std::int64_t i = begin; i < end; ++i) {
    place[i - begin] =
        order != nullptr ? order[i] : static_cast<std::int32_t>(i);
  }
  for (std::int64_t l = 0; l < labels; ++l) {
    for (std::int64_t first = begin; first < end; first += kPointTile) {
      const std::int64_t tile = (first * labels) + l * kPointTile;
      const std::int32_t* at = place + (first - begin);
      if (end - first >= kPointTile) {
        for (std::int64_t i = 0; i < kPointTile; ++i) {
          move(l * points + at[i], tile + i);
        }
      } else {
        for (std::int64_t i = 0; i < end - first; ++i) {
          move(l * points + at[i], tile + i);
        }
      }
    }
  }
}

template <typename Move>
void move_all(const std::int32_t* order, std::int64_t labels,
              std::int64_t points, const Move& move) {
  constexpr std::int64_t kBlock = kBlockTiles * kPointTile;
  parallel_tasks((points + kBlock - 1) / kBlock, [&](TaskQueue& queue) {
    for (std::int64_t block; queue.take(&block);) {
      for_each_value(order, labels, points, block * kBlock,
                     std::min(points, (block + 1) * kBlock), move);
    }
  });
}

}  // namespace

template <typename scalar_t>
void planes_to_tiles(const scalar_t* planes, const std::int32_t* order,
                     std::int64_t labels, std::int64_t points,
                     scalar_t* tiles) {
  const std::int64_t size = tiles_size(labels, points);
  std::fill(tiles + std::max<std::int64_t>(0, size - labels * kPointTile),
            tiles + size, scalar_t(0));
  move_all(order, labels, points, [&](std::int64_t plane, std::int64_t tile) {
    tiles[tile] = planes[plane];
  });
}

template <typename scalar_t>
void tiles_to_planes(const scalar_t* tiles, const std::int32_t* order,
                     std::int64_t labels, std::int64_t points,
                     scalar_t* planes) {
  move_all(order, labels, points, [&](std::int64_t plane, std::int64_t tile) {
    planes[plane] = tiles[tile];
  });
}

#define DEEPLAB_INSTANTIATE(scalar_t)                                   \
  template void planes_to_tiles(const scalar_t*, const std::int32_t*,   \
                                std::int64_t, std::int64_t, scalar_t*); \
  template void tiles_to_planes(const scalar_t*, const std::int32_t*,   \
                                std::int64_t, std::int64_t, scalar_t*);
DEEPLAB_INSTANTIATE(float)
DEEPLAB_INSTANTIATE(double)
#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
