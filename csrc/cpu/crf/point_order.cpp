#include "csrc/cpu/crf/point_order.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "csrc/cpu/crf/feature_range.h"
#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

constexpr std::int64_t kPointGrain = 2048;
// What the points of a tile touch in planes of values, and their rows of the
// kernel with the fewest features, stay near the core.
constexpr double kTilePoints = 4096;
// Features that the tiles and the curve look at, and bits of a place on the
// curve: two passes of the sort.
constexpr int kTileFeatures = 3;
constexpr int kCurveFeatures = 8;
constexpr int kCurveBits = 22;
constexpr int kDigitBits = 11;

// Places of the first features of a kernel on a grid of cells, from the least
// value on.
template <typename scalar_t>
class Grid {
 public:
  Grid(const KernelFeatures<scalar_t>& features, int used, std::int64_t points)
      : features_(features),
        range_(feature_range(features.data, points, features.count)),
        used_(std::min(features.count, used)) {}

  int used() const { return used_; }
  void set_cell(double cell) { per_cell_ = 1 / cell; }
  double extent(int j) const {
    return static_cast<double>(range_.most[j]) -
           static_cast<double>(range_.least[j]);
  }
  bool finite() const {
    for (int j = 0; j < used_; ++j) {
      if (!(extent(j) >= 0 && extent(j) < 1e9)) return false;
    }
    return true;
  }
  std::int64_t places(int j) const {
    return static_cast<std::int64_t>(extent(j) * per_cell_) + 1;
  }
  // 0 .. places - 1; a NaN's is 0.
  std::int64_t place(std::int64_t point, int j) const {
    const double at =
        (static_cast<double>(features_.data[point * features_.count + j]) -
         static_cast<double>(range_.least[j])) *
        per_cell_;
    return at > 0 ? static_cast<std::int64_t>(at) : 0;
  }

 private:
  KernelFeatures<scalar_t> features_;
  FeatureRange<scalar_t> range_;
  int used_;
  double per_cell_ = 1;
};

// Sorts places (place << 32 | point) by the low kCurveBits of the place.
void sort_places(std::uint64_t* places, std::uint64_t* scratch,
                 std::int64_t count) {
  constexpr std::int64_t kDigits = std::int64_t{1} << kDigitBits;
  std::vector<std::int32_t> starts(kDigits + 1);
  for (int shift = 32; shift < 32 + kCurveBits; shift += kDigitBits) {
    std::fill(starts.begin(), starts.end(), 0);
    for (std::int64_t i = 0; i < count; ++i) {
      ++starts[(places[i] >> shift) % kDigits + 1];
    }
    for (std::int64_t k = 0; k < kDigits; ++k) starts[k + 1] += starts[k];
    for (std::int64_t i = 0; i < count; ++i) {
      scratch[starts[(places[i] >> shift) % kDigits]++] = places[i];
    }
    std::swap(places, scratch);
  }
  static_assert(kCurveBits / kDigitBits % 2 == 0, "ends where it began");
}

// Places on a Morton curve through the features.
template <typename scalar_t>
class Curve {
 public:
  Curve(const KernelFeatures<scalar_t>& features, std::int64_t points)
      : grid_(features, kCurveFeatures, points) {
    if (!grid_.finite()) return;
    std::vector<int> bits(grid_.used());
    int top = 0;
    // Cells of one standard deviation, or larger where the bits end.
    for (double cell = 1;; cell *= 2) {
      grid_.set_cell(cell);
      int total = 0;
      top = 0;
      for (int j = 0; j < grid_.used(); ++j) {
        bits[j] = 0;
        while ((std::int64_t{1} << bits[j]) < grid_.places(j)) ++bits[j];
        total += bits[j];
        top = std::max(top, bits[j]);
      }
      if (total <= kCurveBits && top <= kDigitBits) break;
    }
    // Bit by bit from the highest, the features take turns.
    bits_of_place_.resize(grid_.used());
    for (int j = 0; j < grid_.used(); ++j) {
      bits_of_place_[j].resize(std::size_t{1} << bits[j]);
    }
    int shift = 0;
    for (int bit = 0; bit < top; ++bit) {
      for (int j = grid_.used() - 1; j >= 0; --j) {
        if (bit >= bits[j]) continue;
        for (std::size_t at = 0; at < bits_of_place_[j].size(); ++at) {
          bits_of_place_[j][at] |= static_cast<std::uint32_t>(at >> bit & 1)
                                   << shift;
        }
        ++shift;
      }
    }
  }

  bool finite() const { return grid_.finite(); }

  std::uint64_t place(std::int64_t point) const {
    std::uint32_t place = 0;
    for (int j = 0; j < grid_.used(); ++j) {
      place |= bits_of_place_[j][grid_.place(point, j)];
    }
    return place;
  }

 private:
  Grid<scalar_t> grid_;
  std::vector<std::vector<std::uint32_t>> bits_of_place_;
};

// Tiles of the features, numbered row by row.
template <typename scalar_t>
class Tiles {
 public:
  Tiles(const KernelFeatures<scalar_t>& features, std::int64_t points)
      : grid_(features, kTileFeatures, points) {
    if (!grid_.finite()) return;
    double volume = kTilePoints / static_cast<double>(points);
    for (int j = 0; j < grid_.used(); ++j) {
      volume *= std::max(grid_.extent(j), 1.0);
    }
    grid_.set_cell(std::max(1.0, std::pow(volume, 1.0 / grid_.used())));
    for (int j = 0; j < grid_.used(); ++j) count_ *= grid_.places(j);
  }

  bool finite() const { return grid_.finite() && count_ <= kMaxTiles; }
  std::int64_t count() const { return count_; }

  std::int64_t tile(std::int64_t point) const {
    std::int64_t tile = 0;
    for (int j = grid_.used() - 1; j >= 0; --j) {
      tile = tile * grid_.places(j) + grid_.place(point, j);
    }
    return tile;
  }

 private:
  static constexpr std::int64_t kMaxTiles = 1 << 20;
  Grid<scalar_t> grid_;
  std::int64_t count_ = 1;
};

}  // namespace

template <typename scalar_t>
Buffer<std::int32_t> point_order(
    const std::vector<KernelFeatures<scalar_t>>& kernels, std::int64_t points) {
  auto order = make_buffer<std::int32_t>(points);
  for (std::int64_t i = 0; i < points; ++i) {
    order[i] = static_cast<std::int32_t>(i);
  }
  if (kernels.empty() || points == 0) return order;
  const auto fewer = [](const auto& a, const auto& b) {
    return a.count < b.count;
  };
  const auto [coarse, fine] =
      std::minmax_element(kernels.begin(), kernels.end(), fewer);
  const Curve<scalar_t> curve(*fine, points);
  const Tiles<scalar_t> tiles(*coarse, points);
  // The build refuses such features.
  if (!curve.finite() || !tiles.finite()) return order;
  const bool tiled = coarse->count < fine->count;
  const std::int64_t tile_count = tiled ? tiles.count() : 1;

  const auto places = make_buffer<std::uint64_t>(points);
  const auto scratch = make_buffer<std::uint64_t>(points);
  const auto tile_of = make_buffer<std::int32_t>(points);
  parallel_for(
      0, points, kPointGrain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          tile_of[i] = tiled ? static_cast<std::int32_t>(tiles.tile(i)) : 0;
          scratch[i] = curve.place(i) << 32 | static_cast<std::uint64_t>(i);
        }
      });
  std::vector<std::int64_t> starts(tile_count + 1);
  for (std::int64_t i = 0; i < points; ++i) ++starts[tile_of[i] + 1];
  for (std::int64_t t = 0; t < tile_count; ++t) starts[t + 1] += starts[t];
  std::vector<std::int64_t> next(starts.begin(), starts.end() - 1);
  for (std::int64_t i = 0; i < points; ++i) {
    places[next[tile_of[i]]++] = scratch[i];
  }
  parallel_tasks(tile_count, [&](TaskQueue& queue) {
    for (std::int64_t t; queue.take(&t);) {
      sort_places(places.get() + starts[t], scratch.get() + starts[t],
                  starts[t + 1] - starts[t]);
      for (std::int64_t i = starts[t]; i < starts[t + 1]; ++i) {
        order[i] = static_cast<std::int32_t>(places[i] & 0xffffffffu);
      }
    }
  });
  return order;
}

template Buffer<std::int32_t> point_order(
    const std::vector<KernelFeatures<float>>&, std::int64_t);
template Buffer<std::int32_t> point_order(
    const std::vector<KernelFeatures<double>>&, std::int64_t);

}  // namespace deeplab
