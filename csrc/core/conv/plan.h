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

#include <algorithm>
#include <cstdint>

#include "csrc/core/conv/interlace.h"
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

// The scratch memory that Winograd tiles may take, as a share of one image's
// im2col columns.
constexpr double kWinogradMemory = 0.24;

// Filters that are worked on together; packed weights come in such blocks.
constexpr std::int64_t kFilterBlock = 64;

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

// Fewer tiles would leave the matrix product idle.
constexpr std::int64_t kMinTiles = 24;
// Floats of products one thread works on: they should stay in its second-level
// cache until they are transformed back.
constexpr std::int64_t kProductValues = std::int64_t{192} << 10;

// Fewer weights come from the last-level cache faster than inputs are
// transformed twice: 256->256 r2 on 41x41 takes 4.7 ms in two parts, 3.8 in
// one.
constexpr std::int64_t kFarWeights = std::int64_t{4} << 20;

inline WinogradPlan plan_winograd(const Conv2dShape& shape, std::int64_t tile,
                                  std::int64_t threads) {
  const auto ceil_divide = [](std::int64_t a, std::int64_t b) {
    return (a + b - 1) / b;
  };
  const std::int64_t count =
      std::max<std::int64_t>(1, InterlacedTiles(shape, tile).count());
  const std::int64_t channels = shape.channels / shape.groups;
  const std::int64_t allowed = static_cast<std::int64_t>(
      kWinogradMemory * static_cast<double>(shape.columns_size()));
  WinogradPlan best;
  best.reads = 0;
  const std::int64_t weights =
      (tile + 2) * (tile + 2) * channels * shape.filters;
  for (const std::int64_t parts : {1, 2}) {
    if (parts == 2 && weights < kFarWeights) break;
    const std::int64_t positions = (tile + 2) * (tile + 2) / parts;
    const std::int64_t most =
        std::max(kMinTiles, kProductValues / (positions * kFilterBlock));
    const std::int64_t most_passes = ceil_divide(count, kMinTiles);
    for (std::int64_t passes = 1; passes <= most_passes; ++passes) {
      const std::int64_t held = ceil_divide(count, passes);
      const std::int64_t room =
          (allowed / positions - held * channels) / (kFilterBlock * threads);
      if (room < kMinTiles && passes < most_passes) continue;
      const std::int64_t slices =
          ceil_divide(held, std::max(kMinTiles, std::min(most, room)));
      if (best.reads == 0 || passes * slices < best.reads) {
        best = {parts, held, ceil_divide(held, slices), passes * slices};
      }
    }
  }
  return best;
}

// What a choice may take for granted.
struct ConvConditions {
  bool packed;         // weights were packed beforehand
  bool channels_last;  // input and output are
};

class ConvCost {
 public:
  ConvCost(const Conv2dShape& shape, const ConvConditions& conditions)
      : shape_(shape), conditions_(conditions) {}

  double of(ConvPath path) const {
    if (path == ConvPath::kDirect) return direct();
    if (path == ConvPath::kLibrary) return library();
    return winograd(winograd_tile(path));
  }

 private:
  // Fitted to times on one core with AVX-512, where the unit is 17 ps;
  // benchmarks/NOTES.md has the table.
  static constexpr double kTransform2 = 32;    // a value's way in and out of
  static constexpr double kTransform4 = 50;    // the Winograd domain
  static constexpr double kWeightRead = 14;    // a packed weight from memory
  static constexpr double kWeightWrite = 100;  // one written by packing
  static constexpr double kWeightGather = 60;  // one read by packing
  static constexpr double kLayoutChange = 30;  // a value into another layout
  static constexpr double kCall = 4000;        // the start of a small product
  static constexpr double kLibraryReorder = 130;  // a weight
  static constexpr std::int64_t kRegisterRows = 6;
  // Channels (or filters) below which a product of that depth (width) is bound
  // by loads and stores.
  static constexpr double kNarrow = 16;
  static constexpr double kLibraryNarrow = 2;
  // Values that a transform works on at once.
  static constexpr std::int64_t kLanes = 16;

  double taps_times_filters() const {
    return static_cast<double>(shape_.channels / shape_.groups) *
           static_cast<double>(shape_.filters);
  }

  // Slow-down of a product of few channels or filters.
  double narrowness() const {
    const double channels =
        static_cast<double>(shape_.channels / shape_.groups);
    const double filters = static_cast<double>(shape_.group_filters());
    return (1 + kNarrow / channels) * std::max(1.0, kNarrow / filters);
  }

  double layout_changes() const {
    if (conditions_.channels_last) return 0;
    return kLayoutChange * static_cast<double>(shape_.batch) *
           static_cast<double>(shape_.input_size() + shape_.output_size());
  }

  // Along one axis, summed over taps: outputs whose sample lies inside.
  static double inside(const WindowAxis& axis, std::int64_t round_up_to) {
    double sum = 0;
    for (std::int64_t tap = 0; tap < axis.kernel; ++tap) {
      const std::int64_t length = axis.end_inside(tap) - axis.first_inside(tap);
      sum += static_cast<double>((length + round_up_to - 1) / round_up_to *
                                 round_up_to);
    }
    return sum;
  }

  double direct() const {
    const double blocks =
        static_cast<double>((shape_.group_filters() + 63) / 64 * shape_.groups);
    const double rows = inside(shape_.window.h, 1);
    const double calls = static_cast<double>(shape_.batch) * rows *
                         static_cast<double>(shape_.window.w.kernel) * blocks;
    const double products = static_cast<double>(shape_.batch) * rows *
                            inside(shape_.window.w, kRegisterRows) *
                            taps_times_filters() * narrowness();
    const double packs = conditions_.packed
                             ? 0
                             : (kWeightGather + kWeightWrite) *
                                   taps_times_filters() *
                                   static_cast<double>(shape_.window.taps());
    return products + calls * kCall + packs + layout_changes();
  }

  double winograd(std::int64_t tile) const {
    const InterlacedTiles tiles(shape_, tile);
    const double positions = static_cast<double>((tile + 2) * (tile + 2));
    const double values = static_cast<double>(tiles.count()) * positions;
    const double weights = positions * taps_times_filters();
    const auto whole_vectors = [&](std::int64_t values) {
      return static_cast<double>((values + kLanes - 1) / kLanes * kLanes *
                                 shape_.groups);
    };
    const double channels = whole_vectors(shape_.channels / shape_.groups);
    const double filters = whole_vectors(shape_.group_filters());
    const double packs =
        conditions_.packed
            ? 0
            : kWeightWrite * weights + kWeightGather * 9 * taps_times_filters();
    return values * taps_times_filters() * narrowness() +
           values * (channels + filters) *
               (tile == 2 ? kTransform2 : kTransform4) +
           weights * kWeightRead *
               static_cast<double>(plan_winograd(shape_, tile, 1).reads) +
           packs + layout_changes();
  }

  double library() const {
    const Window2d& window = shape_.window;
    const double places =
        conditions_.channels_last
            ? inside(window.h, 1) * inside(window.w, kRegisterRows)
            : static_cast<double>(window.taps() * window.output_size());
    return static_cast<double>(shape_.batch) * places * taps_times_filters() *
               (1 + kLibraryNarrow /
                        static_cast<double>(shape_.channels / shape_.groups)) +
           kLibraryReorder * taps_times_filters() *
               static_cast<double>(window.taps());
  }

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
