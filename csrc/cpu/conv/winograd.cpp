#include <algorithm>

#include "csrc/core/conv/interlace.h"
#include "csrc/cpu/buffer.h"
#include "csrc/cpu/conv/pack.h"
#include "csrc/cpu/conv/packed.h"
#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

constexpr std::int64_t kMaxInputs = 36;
// Weights up to here come from the last-level cache as fast as needed.
constexpr std::int64_t kNearWeightBytes = std::int64_t{5} << 19;
// Tiles that one task transforms.
constexpr std::int64_t kTransformedTiles = 4;

// A whole number of cache lines, odd where `elements` alone would put every
// position's values into the same cache set.
template <typename T>
std::int64_t spread_stride(std::int64_t elements) {
  const std::int64_t line = 64 / static_cast<std::int64_t>(sizeof(T));
  return ((elements + line - 1) / line | 1) * line;
}

// The length of each of as few equal parts of `count` as `most` allows.
std::int64_t in_equal_parts(std::int64_t count, std::int64_t most) {
  const std::int64_t parts = (count + most - 1) / most;
  return (count + parts - 1) / parts;
}

template <typename T>
class WinogradConv {
 public:
  WinogradConv(const PackedConv<T>& conv, std::int64_t tile)
      : conv_(conv),
        tile_(tile),
        inputs_(tile + 2),
        positions_(inputs_ * inputs_),
        tiles_(conv.shape, tile),
        channels_(conv.shape.channels / conv.shape.groups),
        filters_(conv.shape.group_filters()),
        layout_{positions_, filters_, channels_},
        rows_(inputs_) {
    const std::int64_t each = positions_ * static_cast<std::int64_t>(sizeof(T));
    const std::int64_t count = std::max<std::int64_t>(1, tiles_.count());
    // Inputs and products of tiles that fit the second-level cache.
    const std::int64_t near =
        kProductValues * static_cast<std::int64_t>(sizeof(float)) /
        (each * (channels_ + std::min(filters_, kFilterBlock)));
    alone_ =
        near >= kMinTiles && each * channels_ * filters_ <= kNearWeightBytes;
    if (alone_) {
      const std::int64_t share = (count + thread_count() - 1) / thread_count();
      product_tiles_ = in_equal_parts(count, std::min(near, share));
      held_tiles_ = product_tiles_;
    } else {
      const WinogradPlan plan = plan_winograd(conv.shape, tile, thread_count());
      held_tiles_ = plan.held_tiles;
      product_tiles_ = plan.product_tiles;
      rows_ = inputs_ / plan.parts;
    }
    held_stride_ = spread_stride<T>(held_tiles_ * channels_);
    product_stride_ = spread_stride<T>(product_tiles_ * kFilterBlock);
  }

  void run() {
    zeros_ = make_buffer<T>(channels_);
    std::fill_n(zeros_.get(), channels_, T(0));
    for (std::int64_t group = 0; group < conv_.shape.groups; ++group) {
      if (alone_) {
        run_alone(group);
      } else {
        run_together(group);
      }
    }
  }

 private:
  struct Place {
    std::int64_t image;
    InterlacedAxis::Tile h;
    InterlacedAxis::Tile w;
  };

  Place place(std::int64_t index) const {
    const std::int64_t in_image = index % tiles_.per_image();
    return {index / tiles_.per_image(),
            tiles_.h.at(in_image / tiles_.w.tiles()),
            tiles_.w.at(in_image % tiles_.w.tiles())};
  }

  // Few channels: each thread takes some tiles all the way, near its core.
  void run_alone(std::int64_t group) const {
    const std::int64_t count = tiles_.count();
    const std::int64_t tasks = (count + held_tiles_ - 1) / held_tiles_;
    parallel_tasks(tasks, [&](TaskQueue& queue) {
      const auto held = make_buffer<T>(positions_ * held_stride_);
      const auto products = make_buffer<T>(positions_ * product_stride_);
      std::int64_t task;
      while (queue.take(&task)) {
        const std::int64_t first = task * held_tiles_;
        const std::int64_t tiles = std::min(held_tiles_, count - first);
        for (std::int64_t i = 0; i < tiles; ++i) {
          transform_input(group, first + i, kAllRows,
                          held.get() + i * channels_);
        }
        for (std::int64_t filter = 0; filter < filters_;
             filter += kFilterBlock) {
          multiply(group, filter, first, tiles, kAllRows, held.get(),
                   products.get());
        }
      }
    });
  }

  // Many channels: the weights are far larger than the tiles, so that all
  // threads transform as many tiles as memory allows, then share the filters.
  // Tasks of one filter block follow each other, so that its weights come from
  // memory once.
  void run_together(std::int64_t group) const {
    const auto held = make_buffer<T>(rows_ * inputs_ * held_stride_);
    for (std::int64_t first = 0; first < tiles_.count(); first += held_tiles_) {
      if (rows_ == inputs_) {
        run_part(group, first, kAllRows, held.get());
      } else {
        run_part(group, first, kUpperRows, held.get());
        run_part(group, first, kLowerRows, held.get());
      }
    }
  }

  void run_part(std::int64_t group, std::int64_t first, DomainPart part,
                T* held) const {
    const std::int64_t blocks = (filters_ + kFilterBlock - 1) / kFilterBlock;
    const std::int64_t count = std::min(held_tiles_, tiles_.count() - first);
    const std::int64_t slices =
        (count + kTransformedTiles - 1) / kTransformedTiles;
    parallel_tasks(slices, [&](TaskQueue& queue) {
      std::int64_t task;
      while (queue.take(&task)) {
        const std::int64_t begin = task * kTransformedTiles;
        const std::int64_t end = std::min(begin + kTransformedTiles, count);
        for (std::int64_t i = begin; i < end; ++i) {
          transform_input(group, first + i, part, held + i * channels_);
        }
      }
    });
    const std::int64_t parts = (count + product_tiles_ - 1) / product_tiles_;
    parallel_tasks(blocks * parts, [&](TaskQueue& queue) {
      const auto products = make_buffer<T>(rows_ * inputs_ * product_stride_);
      std::int64_t task;
      while (queue.take(&task)) {
        const std::int64_t begin = task % parts * product_tiles_;
        multiply(group, task / parts * kFilterBlock, first + begin,
                 std::min(product_tiles_, count - begin), part,
                 held + begin * channels_, products.get());
      }
    });
  }

  // held [positions of the part, tiles, channels]: one tile of all positions.
  void transform_input(std::int64_t group, std::int64_t tile, DomainPart part,
                       T* held) const {
    const T* samples[kMaxInputs];
    find_samples(group, place(tile), samples);
    conv_kernels<T>().winograd_input[tile_ == 4][part](
        {held, held_stride_, channels_}, samples);
  }

  void find_samples(std::int64_t group, const Place& at,
                    const T** samples) const {
    const WindowAxis& h = conv_.shape.window.h;
    const WindowAxis& w = conv_.shape.window.w;
    const T* image =
        conv_.input + at.image * conv_.shape.input_size() + group * channels_;
    for (std::int64_t i = 0; i < inputs_; ++i) {
      const std::int64_t y = at.h.input + i * h.dilation;
      for (std::int64_t j = 0; j < inputs_; ++j) {
        const std::int64_t x = at.w.input + j * w.dilation;
        *samples++ = h.inside(y) && w.inside(x)
                         ? image + (y * w.input + x) * conv_.shape.channels
                         : zeros_.get();
      }
    }
  }

  void find_outputs(std::int64_t filter, const Place& at, T** outputs) const {
    const WindowAxis& h = conv_.shape.window.h;
    const WindowAxis& w = conv_.shape.window.w;
    T* image = conv_.output + at.image * conv_.shape.output_size() + filter;
    for (std::int64_t i = 0; i < tile_; ++i) {
      const std::int64_t y = at.h.output + i * h.dilation;
      for (std::int64_t j = 0; j < tile_; ++j) {
        const std::int64_t x = at.w.output + j * w.dilation;
        *outputs++ = y < h.output && x < w.output
                         ? image + (y * w.output + x) * conv_.shape.filters
                         : nullptr;
      }
    }
  }

  // A part of the outputs of one filter block for tiles first ..
  // first + count - 1.
  void multiply(std::int64_t group, std::int64_t filter, std::int64_t first,
                std::int64_t count, DomainPart part, const T* held,
                T* products) const {
    const std::int64_t filters = std::min(kFilterBlock, filters_ - filter);
    const T* weights =
        conv_.packed + layout_.block(group, filter) +
        (part == kLowerRows ? rows_ : 0) * inputs_ * channels_ * filters;
    TileProduct<T> product;
    product.lda = channels_;
    product.ldb = filters;
    product.ldc = filters;
    product.m = count;
    product.n = filters;
    product.k = channels_;
    product.accumulate = false;
    for (std::int64_t p = 0; p < rows_ * inputs_; ++p) {
      product.a = held + p * held_stride_;
      product.b = weights + p * channels_ * filters;
      product.c = products + p * product_stride_;
      conv_.multiply(product);
    }
    const auto transform = conv_kernels<T>().winograd_output[tile_ == 4][part];
    const std::int64_t first_filter = group * filters_ + filter;
    const T* bias = conv_.bias == nullptr ? nullptr : conv_.bias + first_filter;
    T* outputs[kMaxInputs];
    for (std::int64_t i = 0; i < count; ++i) {
      find_outputs(first_filter, place(first + i), outputs);
      transform({products + i * filters, product_stride_, filters}, bias,
                conv_.relu, outputs);
    }
  }

  const PackedConv<T>& conv_;
  std::int64_t tile_;
  std::int64_t inputs_;
  std::int64_t positions_;
  InterlacedTiles tiles_;
  std::int64_t channels_;
  std::int64_t filters_;
  PackedLayout layout_;
  bool alone_;                  // whether threads work on tiles of their own
  std::int64_t rows_;           // of the domain at a time
  std::int64_t held_tiles_;     // transformed at a time
  std::int64_t product_tiles_;  // multiplied at a time by one thread
  std::int64_t held_stride_;
  std::int64_t product_stride_;
  Buffer<T> zeros_;
};

}  // namespace

template <typename T>
void conv_winograd_cpu(const PackedConv<T>& conv, std::int64_t tile) {
  if (conv.shape.batch * conv.shape.output_size() == 0) return;
  WinogradConv<T>(conv, tile).run();
}

template void conv_winograd_cpu(const PackedConv<float>&, std::int64_t);
template void conv_winograd_cpu(const PackedConv<double>&, std::int64_t);

}  // namespace deeplab
