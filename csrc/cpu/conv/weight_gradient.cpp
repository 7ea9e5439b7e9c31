#include <algorithm>

#include "csrc/cpu/buffer.h"
#include "csrc/cpu/conv/pack.h"
#include "csrc/cpu/conv/packed.h"
#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

// Places whose products are summed in one go: the part of the output gradient
// then stays in the second-level cache.
constexpr std::int64_t kPlaces = 512;
// Channels transposed at a time.
constexpr std::int64_t kChannels = 16;

// One tap column of one image and group at a time. The columns of the map that
// this tap column meets are brought together, so that any rows of them, hence
// any of its taps' valid rectangles, are one stretch of memory.
template <typename T>
class TapColumn {
 public:
  TapColumn(const WeightGradient<T>& gradient, std::int64_t tap)
      : gradient_(gradient),
        tap_(tap),
        first_(axis().first_inside(tap)),
        width_(axis().end_inside(tap) - first_),
        channels_(gradient.shape.channels / gradient.shape.groups),
        filters_(gradient.shape.group_filters()) {}

  // inputs [channels, H, width].
  void transpose_inputs(std::int64_t image, std::int64_t group,
                        T* inputs) const {
    const WindowAxis& h = gradient_.shape.window.h;
    const std::int64_t* stride = gradient_.input_strides;
    const T* from = gradient_.input + image * stride[0] +
                    group * channels_ * stride[1] +
                    axis().position(first_, tap_) * stride[3];
    const std::int64_t slices = (channels_ + kChannels - 1) / kChannels;
    parallel_tasks(slices, [&](TaskQueue& queue) {
      std::int64_t task;
      while (queue.take(&task)) {
        const std::int64_t begin = task * kChannels;
        const std::int64_t end = std::min(begin + kChannels, channels_);
        for (std::int64_t y = 0; y < h.input; ++y) {
          for (std::int64_t x = 0; x < width_; ++x) {
            const T* value = from + y * stride[2] + x * stride[3];
            T* to = inputs + y * width_ + x;
            for (std::int64_t c = begin; c < end; ++c) {
              to[c * h.input * width_] = value[c * stride[1]];
            }
          }
        }
      }
    });
  }

  // sums: packed (pack.h) gradient, to which this image's part is added.
  void multiply(std::int64_t image, std::int64_t group, const T* inputs,
                T* sums) const {
    const std::int64_t blocks = (filters_ + kFilterBlock - 1) / kFilterBlock;
    const std::int64_t height = gradient_.shape.window.h.output;
    parallel_tasks(blocks, [&](TaskQueue& queue) {
      const auto grads = make_buffer<T>(height * width_ * kFilterBlock);
      std::int64_t task;
      while (queue.take(&task)) {
        const std::int64_t filter = task * kFilterBlock;
        const std::int64_t filters = std::min(kFilterBlock, filters_ - filter);
        gather_grads(image, group * filters_ + filter, filters, grads.get());
        for (std::int64_t tap = 0; tap < gradient_.shape.window.h.kernel;
             ++tap) {
          multiply_tap(group, filter, filters, tap, inputs, grads.get(), sums);
        }
      }
    });
  }

  std::int64_t width() const { return width_; }

 private:
  const WindowAxis& axis() const { return gradient_.shape.window.w; }

  // grads [output_h, width, filters].
  void gather_grads(std::int64_t image, std::int64_t filter,
                    std::int64_t filters, T* grads) const {
    const Conv2dShape& shape = gradient_.shape;
    for (std::int64_t y = 0; y < shape.window.h.output; ++y) {
      const T* from = gradient_.grad + image * shape.output_size() +
                      (y * axis().output + first_) * shape.filters + filter;
      for (std::int64_t x = 0; x < width_; ++x) {
        grads = std::copy_n(from + x * shape.filters, filters, grads);
      }
    }
  }

  void multiply_tap(std::int64_t group, std::int64_t filter,
                    std::int64_t filters, std::int64_t tap_h, const T* inputs,
                    const T* grads, T* sums) const {
    const WindowAxis& h = gradient_.shape.window.h;
    const PackedLayout layout = {gradient_.shape.window.taps(), filters_,
                                 channels_};
    const std::int64_t first = h.first_inside(tap_h);
    const std::int64_t places = (h.end_inside(tap_h) - first) * width_;
    TileProduct<T> product;
    product.lda = h.input * width_;
    product.ldb = filters;
    product.ldc = filters;
    product.m = channels_;
    product.n = filters;
    product.accumulate = true;
    product.c = sums + layout.block(group, filter) +
                (tap_h * axis().kernel + tap_) * channels_ * filters;
    // Equal parts: few different sizes for the matrix product.
    const std::int64_t parts = (places + kPlaces - 1) / kPlaces;
    for (std::int64_t part = 0; part < parts; ++part) {
      const std::int64_t begin = places * part / parts;
      product.k = places * (part + 1) / parts - begin;
      product.a = inputs + h.position(first, tap_h) * width_ + begin;
      product.b = grads + (first * width_ + begin) * filters;
      gradient_.multiply(product);
    }
  }

  const WeightGradient<T>& gradient_;
  std::int64_t tap_;
  std::int64_t first_;
  std::int64_t width_;
  std::int64_t channels_;
  std::int64_t filters_;
};

}  // namespace

template <typename T>
void conv_weight_gradient_cpu(const WeightGradient<T>& gradient) {
  const Conv2dShape& shape = gradient.shape;
  const std::int64_t channels = shape.channels / shape.groups;
  const std::int64_t size = shape.filters * shape.group_rows();
  const auto sums = make_buffer<T>(size);
  std::fill_n(sums.get(), size, T(0));
  const auto inputs = make_buffer<T>(channels * shape.window.input_size());
  for (std::int64_t tap = 0; tap < shape.window.w.kernel; ++tap) {
    const TapColumn<T> column(gradient, tap);
    if (column.width() == 0) continue;
    for (std::int64_t image = 0; image < shape.batch; ++image) {
      for (std::int64_t group = 0; group < shape.groups; ++group) {
        column.transpose_inputs(image, group, inputs.get());
        column.multiply(image, group, inputs.get(), sums.get());
      }
    }
  }
  unpack_weight(gradient.weight, sums.get(), gradient.result);
}

template void conv_weight_gradient_cpu(const WeightGradient<float>&);
template void conv_weight_gradient_cpu(const WeightGradient<double>&);

}  // namespace deeplab
