// Which way a convolution is computed, and the cost model that chooses.
//
// Costs count multiply-accumulates of float at the speed of a large matrix
// product; whatever else takes time is counted as the products that could have
// been made meanwhile. Nothing here knows a particular shape.
//
//   direct    products whose sample lies inside the input, each tap rounded up
//             to whole register tiles of rows;
//   F(m, 3)   products of all tiles of the interlaced sub-maps, (m + 2)^2 for
//             m^2 outputs, plus the two transforms and the weights' way from
//             memory, which are (m + 2)^2 / 9 times as many as the taps;
//   library   oneDNN: as direct on channels_last, else all products, and
//             weights reordered on each call.
#pragma once

#include <cstdint>

#include "csrc/core/conv/window.h"

namespace deeplab {

enum class ConvPath {
  kIm2col,
  kInterlace,
  kLibrary,
  kDirect,
  kWinograd2,
  kWinograd4
};

// Outputs of a tile along an axis; 0 for the other ways.
constexpr std::int64_t winograd_tile(ConvPath path) {
  return path == ConvPath::kWinograd2   ? 2
         : path == ConvPath::kWinograd4 ? 4
                                        : 0;
}

inline bool winograd_applies(const Conv2dShape& shape) {
  const WindowAxis& h = shape.window.h;
  const WindowAxis& w = shape.window.w;
  return h.kernel == 3 && w.kernel == 3 && h.stride == 1 && w.stride == 1;
}

// Filters that are worked on together; packed weights come in such blocks.
constexpr std::int64_t kFilterBlock = 64;

// The constants that are tuned stand in plan.cpp, so that a new value compiles
// one file.

// The scratch memory that Winograd tiles may take, as a share of one image's
// im2col columns.
extern const double kWinogradMemory;

// Fewer tiles at a time would leave the matrix product idle.
extern const std::int64_t kMinTiles;

// Floats of products one thread works on: they should stay in its second-level
// cache until they are transformed back.
extern const std::int64_t kProductValues;

// How Winograd tiles go through that memory. All products of a pass's tiles are
// summed up from `parts` slices of the domain's rows, one slice after the
// other: half of the rows let twice the tiles fit, so that weights, which are
// far larger, are read less often; the input transform's first half is then
// computed twice.
struct WinogradPlan {
  std::int64_t parts = 1;          // of the domain's rows: 1 or 2
  std::int64_t held_tiles = 1;     // transformed at a time
  std::int64_t product_tiles = 1;  // multiplied at a time by one thread
  std::int64_t reads = 1;          // of each weight
};

WinogradPlan plan_winograd(const Conv2dShape& shape, std::int64_t tile,
                           std::int64_t threads);

// What a choice may take for granted.
struct ConvConditions {
  bool packed;         // weights were packed beforehand
  bool channels_last;  // input and output are
};

class ConvCost {
 public:
  ConvCost(const Conv2dShape& shape, const ConvConditions& conditions)
      : shape_(shape), conditions_(conditions) {}

  double of(ConvPath path) const;

 private:
  double taps_times_filters() const;
  double narrowness() const;
  double layout_changes() const;
  double direct() const;
  double winograd(std::int64_t tile) const;
  double library() const;

  const Conv2dShape& shape_;
  ConvConditions conditions_;
};

// The cheapest of `paths` that apply; the first where they cost the same. Cost
// has of(path).
template <typename Cost, typename Paths>
ConvPath cheapest_path(const Conv2dShape& shape, const Cost& cost,
                       const Paths& paths) {
  ConvPath best = ConvPath::kLibrary;
  double least = -1;
  for (const ConvPath path : paths) {
    if (winograd_tile(path) != 0 && !winograd_applies(shape)) continue;
    const double price = cost.of(path);
    if (least < 0 || price < least) {
      least = price;
      best = path;
    }
  }
  return best;
}

}  // namespace deeplab
