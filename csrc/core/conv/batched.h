// Convolutions as few large matrix products on channels-last arrays: what moves
// samples into the products and their results out again. Each functor does the
// work of one index, so that the same one runs in a kernel and in a plain loop.
// Indices are below 2^32; the one of a channel or filter runs fastest.
//
//   regions (core/conv/regions.h):  RegionSamples -> product -> RegionOutputs
//   Winograd on interlaced sub-maps (core/conv/interlace.h):
//     WinogradWeights, WinogradInputs -> products -> WinogradOutputs
#pragma once

#include <algorithm>
#include <cstdint>

#include "csrc/core/conv/divider.h"
#include "csrc/core/conv/im2col.h"
#include "csrc/core/conv/interlace.h"
#include "csrc/core/conv/regions.h"
#include "csrc/core/conv/window.h"
#include "csrc/core/conv/winograd.h"
#include "csrc/core/macros.h"

namespace deeplab {

// 16 bytes moved as one.
struct alignas(16) Unit16 {
  std::uint64_t low;
  std::uint64_t high;
};

// Part of the pixels of a channels-last array [N, H, W, pixel]: `values` of
// each, beginning at `data`; all in units of T.
template <typename T>
struct Pixels {
  T* data = nullptr;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t pixel = 0;

  DEEPLAB_HD T* at(std::int64_t image, std::int64_t y, std::int64_t x) const {
    return data + ((image * height + y) * width + x) * pixel;
  }
};

// Samples of the region's taps: matrix [rows, taps_h, taps_w, channels], rows
// first_row, first_row + 1, ... of the region. Unit: whatever number of
// elements fits; values are only moved.
template <typename Unit>
struct RegionSamples {
  WindowAxis h;
  WindowAxis w;
  std::int64_t tap_h = 0;  // the region's first
  std::int64_t tap_w = 0;
  RegionRows rows;
  std::uint32_t first_row = 0;
  Divider by_channels;
  Divider by_taps;
  Divider by_taps_w;
  Pixels<const Unit> input;
  Unit* matrix = nullptr;

  DEEPLAB_HD void operator()(std::uint32_t index) const {
    const Divider::Parts channel = by_channels(index);
    const Divider::Parts row = by_taps(channel.quotient);
    const Divider::Parts tap = by_taps_w(row.remainder);
    const RegionRows::Place place = rows(first_row + row.quotient);
    matrix[index] =
        input.at(place.image, h.position(place.y, tap_h + tap.quotient),
                 w.position(place.x, tap_w + tap.remainder))[channel.remainder];
  }
};

// Rows [first_row, ...) of a region's outputs from a channels-last array, the
// inverse of RegionOutputs.
template <typename Unit>
struct RegionGrads {
  RegionRows rows;
  std::uint32_t first_row = 0;
  Divider by_filters;
  Pixels<const Unit> grad;
  Unit* matrix = nullptr;

  DEEPLAB_HD void operator()(std::uint32_t index) const {
    const Divider::Parts filter = by_filters(index);
    const RegionRows::Place place = rows(first_row + filter.quotient);
    matrix[index] = grad.at(place.image, place.y, place.x)[filter.remainder];
  }
};

// What every way ends with.
template <typename T>
struct Finish {
  const T* bias = nullptr;  // [filters] or null
  bool relu = false;

  DEEPLAB_HD typename SumOf<T>::Type operator()(typename SumOf<T>::Type sum,
                                                std::uint32_t filter) const {
    if (bias != nullptr) sum += SumOf<T>::widen(bias[filter]);
    // NaN passes.
    return relu && sum < 0 ? typename SumOf<T>::Type(0) : sum;
  }
};

// Products [rows, filters] of a region to where they belong.
template <typename T>
struct RegionOutputs {
  RegionRows rows;
  std::uint32_t first_row = 0;
  Divider by_filters;
  const T* products = nullptr;
  Finish<T> finish;
  Pixels<T> output;

  DEEPLAB_HD void operator()(std::uint32_t index) const {
    const Divider::Parts filter = by_filters(index);
    const RegionRows::Place place = rows(first_row + filter.quotient);
    output.at(place.image, place.y, place.x)[filter.remainder] =
        SumOf<T>::narrow(
            finish(SumOf<T>::widen(products[index]), filter.remainder));
  }
};

// InterlacedAxis::at() without divisions of 64 bits.
struct TileAxis {
  WindowAxis axis;
  std::uint32_t in_longer = 0;
  std::int64_t longer = 0;
  std::int64_t step = 1;
  Divider by_longer;
  Divider by_shorter;

  TileAxis() = default;
  explicit TileAxis(const InterlacedAxis& tiles)
      : axis(tiles.axis),
        in_longer(static_cast<std::uint32_t>(tiles.longer() *
                                             tiles.tiles_of_longer())),
        longer(tiles.longer()),
        step(tiles.tile * tiles.axis.dilation),
        by_longer(tiles.tiles_of_longer()),
        // Shorter sub-maps may be empty; then no index asks for them.
        by_shorter(std::max<std::int64_t>(1, tiles.tiles_of_shorter())) {}

  DEEPLAB_HD InterlacedAxis::Tile operator()(std::uint32_t index) const {
    const bool is_longer = index < in_longer;
    const Divider::Parts parts =
        is_longer ? by_longer(index) : by_shorter(index - in_longer);
    const std::int64_t output =
        (is_longer ? 0 : longer) + parts.quotient + parts.remainder * step;
    return {output, axis.position(output, 0)};
  }
};

// Tiles of a batch, images outermost.
struct TilePlaces {
  TileAxis h;
  TileAxis w;
  Divider by_image;
  Divider by_row;

  TilePlaces() = default;
  explicit TilePlaces(const InterlacedTiles& tiles)
      : h(tiles.h),
        w(tiles.w),
        by_image(tiles.per_image()),
        by_row(tiles.w.tiles()) {}
};

// Samples of a tile into the Winograd domain: [positions, tiles, channels].
template <int kTile, typename T>
struct WinogradInputs {
  TilePlaces places;
  std::uint32_t first_tile = 0;
  std::int64_t position = 0;  // elements between two positions
  Divider by_channels;
  Pixels<const T> input;
  T* domain = nullptr;

  DEEPLAB_HD void operator()(std::uint32_t index) const {
    using F = Winograd<kTile>;
    constexpr int kInputs = F::kInputs;
    const Divider::Parts channel = by_channels(index);
    const Divider::Parts tile = places.by_image(first_tile + channel.quotient);
    const Divider::Parts place = places.by_row(tile.remainder);
    const std::int64_t y0 = places.h(place.quotient).input;
    const std::int64_t x0 = places.w(place.remainder).input;
    const WindowAxis& h = places.h.axis;
    const WindowAxis& w = places.w.axis;
    T across[kInputs][kInputs];
    DEEPLAB_UNROLL
    for (int i = 0; i < kInputs; ++i) {
      const std::int64_t y = y0 + i * h.dilation;
      T samples[kInputs];
      DEEPLAB_UNROLL
      for (int j = 0; j < kInputs; ++j) {
        const std::int64_t x = x0 + j * w.dilation;
        samples[j] = h.inside(y) && w.inside(x)
                         ? input.at(tile.quotient, y, x)[channel.remainder]
                         : T(0);
      }
      F::template input<T>(samples, across[i]);
    }
    DEEPLAB_UNROLL
    for (int j = 0; j < kInputs; ++j) {
      T column[kInputs];
      T out[kInputs];
      DEEPLAB_UNROLL
      for (int i = 0; i < kInputs; ++i) column[i] = across[i][j];
      F::template input<T>(column, out);
      DEEPLAB_UNROLL
      for (int i = 0; i < kInputs; ++i) {
        domain[(i * kInputs + j) * position + index] = out[i];
      }
    }
  }
};

// A group's weights [filters, channels, 3, 3], of any strides, into the
// Winograd domain: [positions, channels, filters].
template <int kTile, typename T>
struct WinogradWeights {
  Divider by_filters;
  std::int64_t position = 0;
  std::int64_t strides[4] = {};
  const T* weight = nullptr;
  T* domain = nullptr;

  DEEPLAB_HD void operator()(std::uint32_t index) const {
    using F = Winograd<kTile>;
    constexpr int kInputs = F::kInputs;
    const Divider::Parts filter = by_filters(index);
    const T* taps =
        weight + filter.remainder * strides[0] + filter.quotient * strides[1];
    T across[3][kInputs];
    DEEPLAB_UNROLL
    for (int i = 0; i < 3; ++i) {
      T row[3];
      DEEPLAB_UNROLL
      for (int j = 0; j < 3; ++j) {
        row[j] = taps[i * strides[2] + j * strides[3]];
      }
      F::template weight<T>(row, across[i]);
    }
    DEEPLAB_UNROLL
    for (int j = 0; j < kInputs; ++j) {
      const T column[3] = {across[0][j], across[1][j], across[2][j]};
      T out[kInputs];
      F::template weight<T>(column, out);
      DEEPLAB_UNROLL
      for (int i = 0; i < kInputs; ++i) {
        domain[(i * kInputs + j) * position + index] = out[i];
      }
    }
  }
};

// Products [positions, tiles, filters] to the outputs of each tile.
template <int kTile, typename T>
struct WinogradOutputs {
  TilePlaces places;
  std::uint32_t first_tile = 0;
  std::int64_t position = 0;
  Divider by_filters;
  const T* products = nullptr;
  Finish<T> finish;
  Pixels<T> output;

  DEEPLAB_HD void operator()(std::uint32_t index) const {
    using F = Winograd<kTile>;
    constexpr int kInputs = F::kInputs;
    const Divider::Parts filter = by_filters(index);
    const Divider::Parts tile = places.by_image(first_tile + filter.quotient);
    const Divider::Parts place = places.by_row(tile.remainder);
    const std::int64_t y0 = places.h(place.quotient).output;
    const std::int64_t x0 = places.w(place.remainder).output;
    const WindowAxis& h = places.h.axis;
    const WindowAxis& w = places.w.axis;
    T across[kInputs][kTile];
    DEEPLAB_UNROLL
    for (int i = 0; i < kInputs; ++i) {
      T row[kInputs];
      DEEPLAB_UNROLL
      for (int j = 0; j < kInputs; ++j) {
        row[j] = products[(i * kInputs + j) * position + index];
      }
      F::template output<T>(row, across[i]);
    }
    DEEPLAB_UNROLL
    for (int j = 0; j < kTile; ++j) {
      const std::int64_t x = x0 + j * w.dilation;
      T column[kInputs];
      T out[kTile];
      DEEPLAB_UNROLL
      for (int i = 0; i < kInputs; ++i) column[i] = across[i][j];
      F::template output<T>(column, out);
      DEEPLAB_UNROLL
      for (int i = 0; i < kTile; ++i) {
        const std::int64_t y = y0 + i * h.dilation;
        if (y < h.output && x < w.output) {
          output.at(tile.quotient, y, x)[filter.remainder] =
              finish(out[i], filter.remainder);
        }
      }
    }
  }
};

}  // namespace deeplab
