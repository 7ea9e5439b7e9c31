#include "csrc/bind/conv/batched.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "csrc/bind/conv/for_each_index.h"
#include "csrc/core/conv/regions.h"

namespace deeplab {
namespace {

constexpr const char* kOp = "atrous_conv2d";

// Where im2col's columns of the whole batch are few, scratch memory may be as
// much as this: products of fewer rows would be bound by their weights.
constexpr int64_t kLeastScratchBytes = int64_t{32} << 20;
constexpr int64_t kMostScratchBytes = int64_t{512} << 20;
// Rows below which a product is not worth its start, whatever the memory.
constexpr int64_t kLeastRows = 128;

// Of channels-last `tensor` [N, H, W, pixel] the part that begins at `offset`.
template <typename T>
Pixels<T> pixels_of(const at::Tensor& tensor, int64_t offset) {
  const int64_t per_unit =
      static_cast<int64_t>(sizeof(T)) / tensor.element_size();
  using Bare = std::remove_const_t<T>;
  Bare* data = static_cast<Bare*>(const_cast<void*>(tensor.const_data_ptr()));
  return {data + offset / per_unit, tensor.size(2), tensor.size(3),
          tensor.size(1) / per_unit};
}

// Bytes that every part of a pixel is a multiple of, and its address too.
std::uint64_t common_bytes(const at::Tensor& tensor, int64_t part) {
  const auto item = static_cast<std::uint64_t>(tensor.element_size());
  return reinterpret_cast<std::uintptr_t>(tensor.const_data_ptr()) |
         (static_cast<std::uint64_t>(tensor.size(1)) * item) |
         (static_cast<std::uint64_t>(part) * item);
}

struct Sizes {
  explicit Sizes(const Conv2dShape& shape)
      : groups(shape.groups),
        channels(shape.channels / shape.groups),
        filters(shape.group_filters()),
        kernel_h(shape.window.h.kernel),
        kernel_w(shape.window.w.kernel) {}

  int64_t groups;
  int64_t channels;  // of a group
  int64_t filters;   // of a group
  int64_t kernel_h;
  int64_t kernel_w;
};

// Calls body(first, count) over `rows` rows of `width` elements each.
template <typename Body>
void for_each_part(const Conv2dShape& shape, const at::Tensor& of, int64_t rows,
                   int64_t width, const Body& body) {
  const int64_t allowed = scratch_bytes(shape, of.element_size()) /
                          of.element_size() / std::max<int64_t>(width, 1);
  const int64_t most = std::max(kLeastRows, allowed);
  // Parts of equal length: none is left too small to be worth a product.
  const int64_t parts = std::max<int64_t>((rows + most - 1) / most, 1);
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t first = rows * part / parts;
    const int64_t count = rows * (part + 1) / parts - first;
    if (count > 0) body(first, count);
  }
}

// Rows [first, first + count) of the samples of one region and group:
// [count, taps_h * taps_w * channels].
at::Tensor region_samples(const Conv2dShape& shape, const at::Tensor& images,
                          const AxisRegion& h, const AxisRegion& w,
                          int64_t group, int64_t first, int64_t count) {
  const int64_t channels = shape.channels / shape.groups;
  const at::Tensor samples =
      at::empty({count, h.taps() * w.taps() * channels}, images.options());
  with_unit(common_bytes(images, channels), [&](auto unit) {
    using Unit = decltype(unit);
    const int64_t per_unit =
        static_cast<int64_t>(sizeof(Unit)) / images.element_size();
    RegionSamples<Unit> move;
    move.h = shape.window.h;
    move.w = shape.window.w;
    move.tap_h = h.tap_first;
    move.tap_w = w.tap_first;
    move.rows = RegionRows(shape.batch, h, w);
    move.first_row = static_cast<std::uint32_t>(first);
    move.by_channels = Divider(channels / per_unit);
    move.by_taps = Divider(h.taps() * w.taps());
    move.by_taps_w = Divider(w.taps());
    move.input = pixels_of<const Unit>(images, group * channels);
    move.matrix = data_as<Unit>(samples);
    for_each_index(kOp, images, samples.numel() / per_unit, move);
  });
  return samples;
}

// The same rows of the output gradient: [count, filters].
at::Tensor region_grads(const Conv2dShape& shape, const at::Tensor& grads,
                        const AxisRegion& h, const AxisRegion& w, int64_t group,
                        int64_t first, int64_t count) {
  const int64_t filters = shape.group_filters();
  const at::Tensor rows = at::empty({count, filters}, grads.options());
  with_unit(common_bytes(grads, filters), [&](auto unit) {
    using Unit = decltype(unit);
    const int64_t per_unit =
        static_cast<int64_t>(sizeof(Unit)) / grads.element_size();
    RegionGrads<Unit> move;
    move.rows = RegionRows(shape.batch, h, w);
    move.first_row = static_cast<std::uint32_t>(first);
    move.by_filters = Divider(filters / per_unit);
    move.grad = pixels_of<const Unit>(grads, group * filters);
    move.matrix = data_as<Unit>(rows);
    for_each_index(kOp, grads, rows.numel() / per_unit, move);
  });
  return rows;
}

template <typename T>
Finish<T> finish_of(const at::Tensor& bias, bool relu, int64_t first_filter) {
  return {bias.defined() ? const_data_as<T>(bias) + first_filter : nullptr,
          relu};
}

void store_region(const Conv2dShape& shape, const at::Tensor& products,
                  const AxisRegion& h, const AxisRegion& w, int64_t group,
                  int64_t first, const at::Tensor& bias, bool relu,
                  const at::Tensor& output) {
  const int64_t filters = shape.group_filters();
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, output.scalar_type(), kOp, [&] {
        with_type_there<scalar_t>(output, [&](auto value) {
          using T = decltype(value);
          RegionOutputs<T> store;
          store.rows = RegionRows(shape.batch, h, w);
          store.first_row = static_cast<std::uint32_t>(first);
          store.by_filters = Divider(filters);
          store.products = const_data_as<T>(products);
          store.finish = finish_of<T>(bias, relu, group * filters);
          store.output = pixels_of<T>(output, group * filters);
          for_each_index(kOp, output, products.numel(), store);
        });
      });
}

at::Tensor by_regions(const Conv2dShape& shape, const at::Tensor& images,
                      const at::Tensor& packed, const at::Tensor& bias,
                      bool relu, const at::Tensor& output) {
  const Sizes sizes(shape);
  const at::Tensor weights =
      packed.view({sizes.groups, sizes.kernel_h, sizes.kernel_w, sizes.channels,
                   sizes.filters});
  const std::vector<AxisRegion> rows = axis_regions(shape.window.h);
  const std::vector<AxisRegion> columns = axis_regions(shape.window.w);
  for (int64_t group = 0; group < sizes.groups; ++group) {
    for (const AxisRegion& w : columns) {
      // Taps of a region as one matrix; a copy only where columns are left out.
      const at::Tensor taps = weights.select(0, group)
                                  .narrow(1, w.tap_first, w.taps())
                                  .contiguous();
      for (const AxisRegion& h : rows) {
        const int64_t depth = h.taps() * w.taps() * sizes.channels;
        const at::Tensor matrix = taps.narrow(0, h.tap_first, h.taps())
                                      .reshape({depth, sizes.filters});
        for_each_part(shape, images, shape.batch * h.outputs() * w.outputs(),
                      depth + sizes.filters, [&](int64_t first, int64_t count) {
                        at::Tensor products =
                            at::empty({count, sizes.filters}, images.options());
                        if (depth == 0) {
                          products.zero_();
                        } else {
                          at::mm_out(products,
                                     region_samples(shape, images, h, w, group,
                                                    first, count),
                                     matrix);
                        }
                        store_region(shape, products, h, w, group, first, bias,
                                     relu, output);
                      });
      }
    }
  }
  return output;
}

template <int kTile, typename T>
void by_winograd(const Conv2dShape& shape, const at::Tensor& images,
                 const at::Tensor& packed, const at::Tensor& bias, bool relu,
                 const at::Tensor& output) {
  constexpr int64_t kPositions = (kTile + 2) * (kTile + 2);
  const Sizes sizes(shape);
  const InterlacedTiles tiles(shape, kTile);
  const TilePlaces places(tiles);
  const at::Tensor weights =
      packed.view({sizes.groups, kPositions, sizes.channels, sizes.filters});
  for (int64_t group = 0; group < sizes.groups; ++group) {
    for_each_part(
        shape, images, tiles.count(),
        kPositions * (sizes.channels + sizes.filters),
        [&](int64_t first, int64_t count) {
          const at::Tensor domain =
              at::empty({kPositions, count, sizes.channels}, images.options());
          WinogradInputs<kTile, T> in;
          in.places = places;
          in.first_tile = static_cast<std::uint32_t>(first);
          in.position = count * sizes.channels;
          in.by_channels = Divider(sizes.channels);
          in.input = pixels_of<const T>(images, group * sizes.channels);
          in.domain = data_as<T>(domain);
          for_each_index(kOp, images, count * sizes.channels, in);

          const at::Tensor products = at::bmm(domain, weights.select(0, group));
          WinogradOutputs<kTile, T> out;
          out.places = places;
          out.first_tile = static_cast<std::uint32_t>(first);
          out.position = count * sizes.filters;
          out.by_filters = Divider(sizes.filters);
          out.products = const_data_as<T>(products);
          out.finish = finish_of<T>(bias, relu, group * sizes.filters);
          out.output = pixels_of<T>(output, group * sizes.filters);
          for_each_index(kOp, images, count * sizes.filters, out);
        });
  }
}

template <int kTile, typename T>
void transform_weight(const at::Tensor& weight, int64_t groups,
                      const at::Tensor& packed) {
  constexpr int64_t kPositions = (kTile + 2) * (kTile + 2);
  const int64_t filters = weight.size(0) / groups;
  const int64_t size = filters * weight.size(1);
  for (int64_t group = 0; group < groups; ++group) {
    WinogradWeights<kTile, T> transform;
    transform.by_filters = Divider(filters);
    transform.position = size;
    for (int axis = 0; axis < 4; ++axis) {
      transform.strides[axis] = weight.stride(axis);
    }
    transform.weight =
        const_data_as<T>(weight) + group * filters * weight.stride(0);
    transform.domain = data_as<T>(packed) + group * kPositions * size;
    for_each_index(kOp, weight, size, transform);
  }
}

// float32 or float64, as Winograd's transforms are made.
at::Tensor wide(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kHalf ||
                 tensor.scalar_type() == at::kBFloat16
             ? tensor.to(at::kFloat)
             : tensor;
}

}  // namespace

int64_t scratch_bytes(const Conv2dShape& shape, int64_t item_size) {
  const double columns = static_cast<double>(shape.batch) *
                         static_cast<double>(shape.columns_size()) *
                         static_cast<double>(item_size);
  const double share = std::min(kWinogradMemory * columns,
                                static_cast<double>(kMostScratchBytes));
  return std::max(kLeastScratchBytes, static_cast<int64_t>(share));
}

bool fits_batched(const Conv2dShape& shape) {
  constexpr double kMost = std::numeric_limits<std::int32_t>::max();
  const double pixels =
      static_cast<double>(shape.batch) *
      static_cast<double>(
          std::max(shape.window.input_size(), shape.window.output_size()));
  // A part of kLeastRows rows, whatever the memory.
  const double widest =
      static_cast<double>(shape.channels) *
      static_cast<double>(std::max<int64_t>(shape.window.taps(), 36));
  return pixels < kMost && widest * kLeastRows < kMost &&
         static_cast<double>(shape.filters) * 36 * kLeastRows < kMost;
}

at::Tensor batched_weight(const at::Tensor& weight, int64_t groups,
                          ConvPath path) {
  const int64_t filters = weight.size(0) / groups;
  const int64_t channels = weight.size(1);
  if (path == ConvPath::kDirect) {
    return weight
        .reshape({groups, filters, channels, weight.size(2), weight.size(3)})
        .permute({0, 3, 4, 2, 1})
        .reshape({-1})
        .contiguous();
  }
  const at::Tensor from = wide(weight);
  const int64_t side = winograd_tile(path) + 2;
  const at::Tensor packed =
      at::empty({groups * side * side * channels * filters}, from.options());
  AT_DISPATCH_FLOATING_TYPES(from.scalar_type(), kOp, [&] {
    if (side == 4) {
      transform_weight<2, scalar_t>(from, groups, packed);
    } else {
      transform_weight<4, scalar_t>(from, groups, packed);
    }
  });
  return packed;
}

at::Tensor mirrored_weight(const at::Tensor& weight, int64_t groups) {
  const int64_t filters = weight.size(0) / groups;
  return weight
      .reshape(
          {groups, filters, weight.size(1), weight.size(2), weight.size(3)})
      .transpose(1, 2)
      .flip({3, 4})
      .reshape(
          {groups * weight.size(1), filters, weight.size(2), weight.size(3)});
}

at::Tensor batched_conv2d(ConvPath path, const Conv2dShape& shape,
                          const at::Tensor& input, const at::Tensor& packed,
                          const std::optional<at::Tensor>& bias, bool relu) {
  const bool regions = path == ConvPath::kDirect;
  const at::Tensor images = (regions ? input : wide(input))
                                .contiguous(at::MemoryFormat::ChannelsLast);
  at::Tensor biases;
  if (bias) {
    biases = (regions ? *bias : wide(*bias)).contiguous();
  }
  const at::Tensor output =
      at::empty({shape.batch, shape.filters, shape.window.h.output,
                 shape.window.w.output},
                images.options(), at::MemoryFormat::ChannelsLast);
  if (output.numel() == 0) return output.to(input.scalar_type());
  if (regions) return by_regions(shape, images, packed, biases, relu, output);
  AT_DISPATCH_FLOATING_TYPES(images.scalar_type(), kOp, [&] {
    if (path == ConvPath::kWinograd2) {
      by_winograd<2, scalar_t>(shape, images, packed, biases, relu, output);
    } else {
      by_winograd<4, scalar_t>(shape, images, packed, biases, relu, output);
    }
  });
  return output.to(input.scalar_type());
}

at::Tensor batched_weight_gradient(const Conv2dShape& shape,
                                   const at::Tensor& input,
                                   const at::Tensor& grad) {
  const Sizes sizes(shape);
  const at::Tensor images = input.contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor grads = grad.contiguous(at::MemoryFormat::ChannelsLast);
  const at::ScalarType type = input.scalar_type();
  const bool reduced = type == at::kHalf || type == at::kBFloat16;
  const auto sums_options = input.options().dtype(reduced ? at::kFloat : type);
  const at::Tensor sums =
      at::zeros({sizes.groups, sizes.kernel_h, sizes.kernel_w, sizes.channels,
                 sizes.filters},
                sums_options);
  const std::vector<AxisRegion> rows = axis_regions(shape.window.h);
  const std::vector<AxisRegion> columns = axis_regions(shape.window.w);
  for (int64_t group = 0; group < sizes.groups; ++group) {
    for (const AxisRegion& w : columns) {
      if (w.taps() == 0) continue;
      // Of the taps of these columns alone, so that those of a region follow
      // each other in memory.
      const at::Tensor part =
          at::zeros({sizes.kernel_h, w.taps(), sizes.channels, sizes.filters},
                    sums_options);
      for (const AxisRegion& h : rows) {
        if (h.taps() == 0) continue;
        const int64_t depth = h.taps() * w.taps() * sizes.channels;
        at::Tensor sum =
            part.narrow(0, h.tap_first, h.taps()).view({depth, sizes.filters});
        for_each_part(shape, images, shape.batch * h.outputs() * w.outputs(),
                      depth + sizes.filters, [&](int64_t first, int64_t count) {
                        const at::Tensor samples = region_samples(
                            shape, images, h, w, group, first, count);
                        const at::Tensor gradients = region_grads(
                            shape, grads, h, w, group, first, count);
                        if (reduced) {
                          sum.add_(at::mm(samples.t(), gradients));
                        } else {
                          sum.addmm_(samples.t(), gradients);
                        }
                      });
      }
      sums.select(0, group).narrow(1, w.tap_first, w.taps()).add_(part);
    }
  }
  return sums.permute({0, 4, 3, 1, 2})
      .reshape({shape.filters, sizes.channels, sizes.kernel_h, sizes.kernel_w})
      .to(type);
}

}  // namespace deeplab
