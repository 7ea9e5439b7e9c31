// The cost model that plan.h describes, with every constant that is tuned.
#include "csrc/core/conv/plan.h"

#include <algorithm>

#include "csrc/core/conv/interlace.h"

namespace deeplab {

const double kWinogradMemory = 0.24;
const std::int64_t kMinTiles = 24;
const std::int64_t kProductValues = std::int64_t{192} << 10;

namespace {

// Fewer weights come from the last-level cache faster than inputs are
// transformed twice: 256->256 r2 on 41x41 takes 4.7 ms in two parts, 3.8 in
// one.
constexpr std::int64_t kFarWeights = std::int64_t{4} << 20;

// Fitted to times on one core with AVX-512, where the unit is 17 ps;
// benchmarks/NOTES.md has the table.
constexpr double kTransform2 = 32;       // a value's way in and out of
constexpr double kTransform4 = 50;       // the Winograd domain
constexpr double kWeightRead = 14;       // a packed weight from memory
constexpr double kWeightWrite = 100;     // one written by packing
constexpr double kWeightGather = 60;     // one read by packing
constexpr double kLayoutChange = 30;     // a value into another layout
constexpr double kCall = 4000;           // the start of a small product
constexpr double kLibraryReorder = 130;  // a weight
constexpr std::int64_t kRegisterRows = 6;
// Channels (or filters) below which a product of that depth (width) is bound
// by loads and stores.
constexpr double kNarrow = 16;
constexpr double kLibraryNarrow = 2;
// Values that a transform works on at once.
constexpr std::int64_t kLanes = 16;

// Along one axis, summed over taps: outputs whose sample lies inside.
double inside(const WindowAxis& axis, std::int64_t round_up_to) {
  double sum = 0;
  for (std::int64_t tap = 0; tap < axis.kernel; ++tap) {
    const std::int64_t length = axis.end_inside(tap) - axis.first_inside(tap);
    sum += static_cast<double>((length + round_up_to - 1) / round_up_to *
                               round_up_to);
  }
  return sum;
}

}  // namespace

WinogradPlan plan_winograd(const Conv2dShape& shape, std::int64_t tile,
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

double ConvCost::of(ConvPath path) const {
  if (path == ConvPath::kDirect) return direct();
  if (path == ConvPath::kLibrary) return library();
  return winograd(winograd_tile(path));
}

double ConvCost::taps_times_filters() const {
  return static_cast<double>(shape_.channels / shape_.groups) *
         static_cast<double>(shape_.filters);
}

// Slow-down of a product of few channels or filters.
double ConvCost::narrowness() const {
  const double channels = static_cast<double>(shape_.channels / shape_.groups);
  const double filters = static_cast<double>(shape_.group_filters());
  return (1 + kNarrow / channels) * std::max(1.0, kNarrow / filters);
}

double ConvCost::layout_changes() const {
  if (conditions_.channels_last) return 0;
  return kLayoutChange * static_cast<double>(shape_.batch) *
         static_cast<double>(shape_.input_size() + shape_.output_size());
}

double ConvCost::direct() const {
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

double ConvCost::winograd(std::int64_t tile) const {
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

double ConvCost::library() const {
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

}  // namespace deeplab
