#include <algorithm>

#include "csrc/cpu/buffer.h"
#include "csrc/cpu/conv/pack.h"
#include "csrc/cpu/conv/packed.h"
#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

// Outputs of a task: their sums over one filter block fill a first-level cache,
// while a tap's weights stay in the second level.
constexpr std::int64_t kTilePixels = 128;
// Rows of a product in registers.
constexpr std::int64_t kRegisterRows = 6;

struct Range {
  std::int64_t begin;
  std::int64_t end;

  Range within(const Range& other) const {
    const std::int64_t first = std::max(begin, other.begin);
    return {first, std::max(first, std::min(end, other.end))};
  }
};

// What one task computes.
struct Tile {
  std::int64_t image;
  std::int64_t group;
  std::int64_t filter;  // of the group
  std::int64_t filters;
  Range rows;
  Range columns;
};

class Tiling {
 public:
  explicit Tiling(const Conv2dShape& shape) : shape_(shape) {
    const WindowAxis& w = shape.window.w;
    rows_ = std::max<std::int64_t>(1, kTilePixels / w.output);
    // Equal pieces of a wide row: few different sizes for the matrix product.
    const std::int64_t pieces = (w.output + kTilePixels - 1) / kTilePixels;
    columns_ = (w.output + pieces - 1) / pieces;
    if (pieces > 1) {
      columns_ = (columns_ + kRegisterRows - 1) / kRegisterRows * kRegisterRows;
    }
    row_tiles_ = (shape.window.h.output + rows_ - 1) / rows_;
    column_tiles_ = (w.output + columns_ - 1) / columns_;
    blocks_ = (shape.group_filters() + kFilterBlock - 1) / kFilterBlock;
    share_inputs_ = rows_ * columns_ > shape.window.taps() * kFilterBlock;
  }

  // Outputs of a task at most.
  std::int64_t pixels() const { return rows_ * columns_; }

  std::int64_t count() const {
    return shape_.batch * shape_.groups * blocks_ * row_tiles_ * column_tiles_;
  }

  // Neighbouring tasks share their weights, or their inputs where these are
  // more.
  Tile at(std::int64_t task) const {
    Tile tile;
    if (share_inputs_) {
      tile.filter = task % blocks_ * kFilterBlock;
      task /= blocks_;
    }
    const std::int64_t column = task % column_tiles_ * columns_;
    task /= column_tiles_;
    const std::int64_t row = task % row_tiles_ * rows_;
    task /= row_tiles_;
    if (!share_inputs_) {
      tile.filter = task % blocks_ * kFilterBlock;
      task /= blocks_;
    }
    tile.filters = std::min(kFilterBlock, shape_.group_filters() - tile.filter);
    tile.group = task % shape_.groups;
    tile.image = task / shape_.groups;
    tile.rows = {row, std::min(row + rows_, shape_.window.h.output)};
    tile.columns = {column,
                    std::min(column + columns_, shape_.window.w.output)};
    return tile;
  }

 private:
  const Conv2dShape& shape_;
  std::int64_t rows_;
  std::int64_t columns_;
  std::int64_t row_tiles_;
  std::int64_t column_tiles_;
  std::int64_t blocks_;
  bool share_inputs_;
};

template <typename T>
void write_outputs(const PackedConv<T>& conv, const Tile& tile, const T* sums) {
  const std::int64_t first_filter =
      tile.group * conv.shape.group_filters() + tile.filter;
  T* output =
      conv.output + tile.image * conv.shape.output_size() + first_filter;
  const T* bias = conv.bias == nullptr ? nullptr : conv.bias + first_filter;
  for (std::int64_t row = tile.rows.begin; row < tile.rows.end; ++row) {
    for (std::int64_t column = tile.columns.begin; column < tile.columns.end;
         ++column, sums += tile.filters) {
      T* to = output +
              (row * conv.shape.window.w.output + column) * conv.shape.filters;
      for (std::int64_t f = 0; f < tile.filters; ++f) {
        const T sum = bias == nullptr ? sums[f] : sums[f] + bias[f];
        to[f] = conv.relu && sum < 0 ? T(0) : sum;
      }
    }
  }
}

// sums: scratch memory of the tile's outputs, [pixels, filters]. Rows of the
// output itself may lie a multiple of 4 KiB apart, where a few of them already
// push each other out of the first-level cache.
template <typename T>
void compute(const PackedConv<T>& conv, const Tile& tile, T* sums) {
  const Conv2dShape& shape = conv.shape;
  const WindowAxis& h = shape.window.h;
  const WindowAxis& w = shape.window.w;
  const std::int64_t channels = shape.channels / shape.groups;
  const PackedLayout layout = {shape.window.taps(), shape.group_filters(),
                               channels};
  const T* weights = conv.packed + layout.block(tile.group, tile.filter);
  const T* input =
      conv.input + tile.image * shape.input_size() + tile.group * channels;
  const std::int64_t width = tile.columns.end - tile.columns.begin;
  const std::int64_t pixels = (tile.rows.end - tile.rows.begin) * width;
  TileProduct<T> product;
  product.lda = w.stride * shape.channels;
  product.ldb = tile.filters;
  product.ldc = tile.filters;
  product.n = tile.filters;
  product.k = channels;
  product.accumulate = !shape.window.is_pointwise();
  if (product.accumulate) std::fill_n(sums, pixels * tile.filters, T(0));
  for (std::int64_t tap_h = 0; tap_h < h.kernel; ++tap_h) {
    const Range rows =
        tile.rows.within({h.first_inside(tap_h), h.end_inside(tap_h)});
    for (std::int64_t tap_w = 0; tap_w < w.kernel; ++tap_w) {
      const Range columns =
          tile.columns.within({w.first_inside(tap_w), w.end_inside(tap_w)});
      product.m = columns.end - columns.begin;
      if (product.m == 0) continue;
      product.b =
          weights + (tap_h * w.kernel + tap_w) * channels * tile.filters;
      for (std::int64_t row = rows.begin; row < rows.end; ++row) {
        product.a = input + (h.position(row, tap_h) * w.input +
                             w.position(columns.begin, tap_w)) *
                                shape.channels;
        product.c = sums + ((row - tile.rows.begin) * width + columns.begin -
                            tile.columns.begin) *
                               tile.filters;
        conv.multiply(product);
      }
    }
  }
  write_outputs(conv, tile, sums);
}

}  // namespace

template <typename T>
void conv_direct_cpu(const PackedConv<T>& original) {
  PackedConv<T> conv = original;
  if (conv.shape.batch * conv.shape.output_size() == 0) return;
  if (conv.shape.window.is_pointwise()) {
    // One long row: fewer and larger products.
    conv.shape.window = {
        make_window_axis(1, 1, 1, 0, 1),
        make_window_axis(conv.shape.window.input_size(), 1, 1, 0, 1)};
  }
  const Tiling tiling(conv.shape);
  parallel_tasks(tiling.count(), [&](TaskQueue& queue) {
    const auto sums = make_buffer<T>(
        tiling.pixels() * std::min(kFilterBlock, conv.shape.group_filters()));
    std::int64_t task;
    while (queue.take(&task)) compute(conv, tiling.at(task), sums.get());
  });
}

template void conv_direct_cpu(const PackedConv<float>&);
template void conv_direct_cpu(const PackedConv<double>&);

}  // namespace deeplab
