#include "csrc/cpu/crf/point_rows.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "csrc/cpu/crf/row_kernels.h"
#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

// Points whose places in a plane stay in the cache while all labels pass.
constexpr std::int64_t kBlockTiles = 256;

// Calls move(position in planes, position in tiles [width, kPointTile]) for
// every value of points [begin, end), label by label. Places are widened once,
// and whole tiles have a fixed length.
template <typename Move>
void for_each_value(const std::int32_t* order, std::int64_t labels,
                    std::int64_t points, std::int64_t width, std::int64_t begin,
                    std::int64_t end, const Move& move) {
  std::int32_t place[kBlockTiles * kPointTile];
  for (std::int64_t i = begin; i < end; ++i) {
    place[i - begin] =
        order != nullptr ? order[i] : static_cast<std::int32_t>(i);
  }
  for (std::int64_t l = 0; l < labels; ++l) {
    for (std::int64_t first = begin; first < end; first += kPointTile) {
      const std::int64_t tile = first * width + l * kPointTile;
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

// Calls fn(first point, last) for blocks of the points, on all threads.
template <typename Function>
void for_each_block(std::int64_t points, const Function& fn) {
  constexpr std::int64_t kBlock = kBlockTiles * kPointTile;
  parallel_tasks((points + kBlock - 1) / kBlock, [&](TaskQueue& queue) {
    for (std::int64_t block; queue.take(&block);) {
      fn(block * kBlock, std::min(points, (block + 1) * kBlock));
    }
  });
}

}  // namespace

template <typename scalar_t>
void planes_to_rows(const scalar_t* planes, scalar_t factor,
                    const std::int32_t* order, std::int64_t labels,
                    std::int64_t points, std::int64_t width, scalar_t* rows) {
  for_each_block(points, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t first = begin / kPointTile, last = tile_count(end);
    for (std::int64_t tile = first; tile < last; ++tile) {
      scalar_t* own = rows + tile * width * kPointTile;
      std::fill(own + labels * kPointTile, own + width * kPointTile,
                std::numeric_limits<scalar_t>::infinity());
    }
    if (end % kPointTile != 0) {
      scalar_t* own = rows + (last - 1) * width * kPointTile;
      std::fill(own, own + labels * kPointTile, scalar_t(0));
    }
    for_each_value(order, labels, points, width, begin, end,
                   [&](std::int64_t plane, std::int64_t tile) {
                     rows[tile] = factor * planes[plane];
                   });
    std::vector<scalar_t> scratch(kPointTile * width);
    row_kernels<scalar_t>().transpose(width, kPointTile, scratch.data(), rows,
                                      first, last);
  });
}

template <typename scalar_t>
void rows_to_planes(scalar_t* rows, const std::int32_t* order,
                    std::int64_t labels, std::int64_t points,
                    std::int64_t width, scalar_t* planes) {
  for_each_block(points, [&](std::int64_t begin, std::int64_t end) {
    std::vector<scalar_t> scratch(kPointTile * width);
    row_kernels<scalar_t>().transpose(kPointTile, width, scratch.data(), rows,
                                      begin / kPointTile, tile_count(end));
    for_each_value(order, labels, points, width, begin, end,
                   [&](std::int64_t plane, std::int64_t tile) {
                     planes[plane] = rows[tile];
                   });
  });
}

#define DEEPLAB_INSTANTIATE(scalar_t)                                          \
  template void planes_to_rows(const scalar_t*, scalar_t, const std::int32_t*, \
                               std::int64_t, std::int64_t, std::int64_t,       \
                               scalar_t*);                                     \
  template void rows_to_planes(scalar_t*, const std::int32_t*, std::int64_t,   \
                               std::int64_t, std::int64_t, scalar_t*);
DEEPLAB_INSTANTIATE(float)
DEEPLAB_INSTANTIATE(double)
#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
