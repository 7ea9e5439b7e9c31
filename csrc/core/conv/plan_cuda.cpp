// The cost model that plan_cuda.h describes, with its constants.
#include "csrc/core/conv/plan_cuda.h"

#include <algorithm>
#include <cmath>

#include "csrc/core/conv/interlace.h"
#include "csrc/core/conv/regions.h"

namespace deeplab {
namespace {

constexpr double kBytes = 4300;  // moved in a nanosecond
constexpr double kStart = 3000;  // of a kernel
constexpr double kProcessors = 132;
constexpr double kTile = 128;        // side of a product's tiles
constexpr double kSplitDepth = 512;  // of a tile's share when split
constexpr double kMostSplits = 8;

// Multiply-accumulates in a nanosecond.
double rate(ProductKind kind) {
  switch (kind) {
    case ProductKind::kFloat32:
      return 30e3;
    case ProductKind::kTf32:
      return 210e3;
    default:
      return 395e3;
  }
}

double tiles(double length) { return std::ceil(length / kTile); }

}  // namespace

double CudaConvCost::of(ConvPath path) const {
  if (path == ConvPath::kDirect) return direct();
  if (path == ConvPath::kLibrary) return library();
  return winograd(winograd_tile(path));
}

// `count` products [rows, depth] x [depth, filters] in one call.
double CudaConvCost::product(ProductKind kind, double rows, double depth,
                             double count) const {
  const double blocks = tiles(rows) * tiles(filters_) * count;
  const double splits =
      std::clamp(std::floor(depth / kSplitDepth), 1.0, kMostSplits);
  const double busy = std::min(1.0, blocks * splits / kProcessors);
  return blocks * kTile * kTile * depth / (rate(kind) * busy) + kStart;
}

double CudaConvCost::parts(double bytes) const {
  return std::max(
      1.0, std::ceil(bytes / static_cast<double>(conditions_.scratch_bytes)));
}

double CudaConvCost::groups() const {
  return static_cast<double>(shape_.groups);
}
double CudaConvCost::item() const {
  return static_cast<double>(conditions_.item_size);
}

// A weight brought into the order of the products, where it is not yet.
double CudaConvCost::packing(double elements) const {
  return conditions_.packed ? 0 : kStart + 2 * elements * item() / kBytes;
}

// Ours works on channels-last arrays.
double CudaConvCost::layout_changes() const {
  if (conditions_.channels_last) return 0;
  const double moved =
      static_cast<double>(shape_.batch) *
      static_cast<double>(shape_.input_size() + shape_.output_size());
  return 2 * kStart + 2 * moved * item() / kBytes;
}

double CudaConvCost::library() const {
  const double rows = static_cast<double>(shape_.batch) *
                      static_cast<double>(shape_.window.output_size());
  return product(conditions_.library, rows,
                 static_cast<double>(shape_.group_rows()), groups());
}

double CudaConvCost::direct() const {
  double sum =
      layout_changes() + packing(static_cast<double>(shape_.filters) *
                                 static_cast<double>(shape_.group_rows()));
  for (const AxisRegion& w : axis_regions(shape_.window.w)) {
    if (w.taps() < shape_.window.w.kernel) {
      const double copied = static_cast<double>(shape_.window.h.kernel) *
                            static_cast<double>(w.taps()) * channels_ *
                            filters_;
      sum += groups() * (kStart + 2 * copied * item() / kBytes);
    }
    for (const AxisRegion& h : axis_regions(shape_.window.h)) {
      const double rows = static_cast<double>(shape_.batch * h.outputs()) *
                          static_cast<double>(w.outputs());
      const double depth = static_cast<double>(h.taps() * w.taps()) * channels_;
      const double bytes = rows * (depth + filters_) * item();
      const double calls = parts(bytes);
      sum += groups() * (product(conditions_.ours, rows, depth, 1) +
                         (3 * calls - 1) * kStart + 2 * bytes / kBytes);
    }
  }
  return sum;
}

double CudaConvCost::winograd(std::int64_t tile) const {
  const double positions = static_cast<double>((tile + 2) * (tile + 2));
  const double count =
      static_cast<double>(InterlacedTiles(shape_, tile).count());
  const double bytes = positions * count * (channels_ + filters_) * item();
  const double weights = positions * channels_ * filters_ * groups();
  const double calls = parts(bytes);
  return layout_changes() + packing(weights) +
         groups() * (product(conditions_.ours, count, channels_, positions) +
                     (3 * calls - 1) * kStart + 2 * bytes / kBytes) +
         (calls - 1) * weights * item() / kBytes;
}

}  // namespace deeplab
