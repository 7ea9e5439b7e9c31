#include "csrc/cpu/conv/im2col.h"

#include <algorithm>
#include <memory>

#include "csrc/core/conv/im2col.h"
#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

// Elements a thread should touch before another one is worth waking.
constexpr std::int64_t kGrain = 1 << 15;

std::int64_t grain_for(std::int64_t elements_each) {
  return std::max<std::int64_t>(
      1, kGrain / std::max<std::int64_t>(1, elements_each));
}

// An uninitialised array: the columns are written in full before they are read.
template <typename T>
std::unique_ptr<T[]> scratch(std::int64_t size) {
  return std::unique_ptr<T[]>(new T[static_cast<std::size_t>(size)]);
}

// One tap of one plane: [output_h, output_w] samples, outside ones zero.
template <typename T>
void sample_tap(const Window2d& window, std::int64_t tap_h, std::int64_t tap_w,
                const T* image, T* column) {
  const WindowAxis& h = window.h;
  const WindowAxis& w = window.w;
  const std::int64_t first = w.first_inside(tap_w);
  const std::int64_t end = w.end_inside(tap_w);
  for (std::int64_t out_h = 0; out_h < h.output; ++out_h) {
    T* row = column + out_h * w.output;
    const std::int64_t y = h.position(out_h, tap_h);
    if (!h.inside(y)) {
      std::fill(row, row + w.output, T(0));
      continue;
    }
    std::fill(row, row + first, T(0));
    const T* source = image + y * w.input;
    if (w.stride == 1) {
      if (first < end) {
        const T* from = source + w.position(first, tap_w);
        std::copy(from, from + (end - first), row + first);
      }
    } else {
      for (std::int64_t out_w = first; out_w < end; ++out_w) {
        row[out_w] = source[w.position(out_w, tap_w)];
      }
    }
    std::fill(row + end, row + w.output, T(0));
  }
}

// Adds one tap's column to the plane it was sampled from.
template <typename T>
void add_tap(const Window2d& window, std::int64_t tap_h, std::int64_t tap_w,
             const T* column, T* image) {
  const WindowAxis& h = window.h;
  const WindowAxis& w = window.w;
  const std::int64_t first = w.first_inside(tap_w);
  const std::int64_t end = w.end_inside(tap_w);
  const std::int64_t end_h = h.end_inside(tap_h);
  for (std::int64_t out_h = h.first_inside(tap_h); out_h < end_h; ++out_h) {
    const T* row = column + out_h * w.output;
    T* target = image + h.position(out_h, tap_h) * w.input;
    if (w.stride == 1) {
      const std::int64_t shift = w.position(0, tap_w);
      for (std::int64_t out_w = first; out_w < end; ++out_w) {
        target[out_w + shift] += row[out_w];
      }
    } else {
      for (std::int64_t out_w = first; out_w < end; ++out_w) {
        target[w.position(out_w, tap_w)] += row[out_w];
      }
    }
  }
}

template <typename T>
void add_bias(const Conv2dShape& shape, const T* bias, T* image) {
  const std::int64_t size = shape.window.output_size();
  parallel_for(0, shape.filters, grain_for(size),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t filter = begin; filter < end; ++filter) {
                   T* plane = image + filter * size;
                   for (std::int64_t i = 0; i < size; ++i) {
                     plane[i] += bias[filter];
                   }
                 }
               });
}

// Summed in double: a float sum over a large map loses digits that Caffe's
// blocked gemv keeps.
template <typename T>
void sum_bias_gradient(const Conv2dShape& shape, const T* grad_output,
                       T* grad_bias) {
  const std::int64_t size = shape.window.output_size();
  parallel_for(0, shape.filters, grain_for(size * shape.batch),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t filter = begin; filter < end; ++filter) {
                   double sum = 0;
                   for (std::int64_t n = 0; n < shape.batch; ++n) {
                     const T* plane =
                         grad_output + (n * shape.filters + filter) * size;
                     for (std::int64_t i = 0; i < size; ++i) sum += plane[i];
                   }
                   grad_bias[filter] = static_cast<T>(sum);
                 }
               });
}

// Columns of one image: the image itself where the window is pointwise.
template <typename T>
const T* columns_of(const Conv2dShape& shape, const T* image, T* buffer) {
  if (shape.window.is_pointwise()) return image;
  im2col_cpu(shape.window, shape.channels, image, buffer);
  return buffer;
}

}  // namespace

template <typename T>
void im2col_cpu(const Window2d& window, std::int64_t planes, const T* images,
                T* columns) {
  const std::int64_t size = window.output_size();
  parallel_for(
      0, planes * window.taps(), grain_for(size),
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
          const std::int64_t tap = row % window.taps();
          const T* image = images + row / window.taps() * window.input_size();
          sample_tap(window, tap / window.w.kernel, tap % window.w.kernel,
                     image, columns + row * size);
        }
      });
}

template <typename T>
void col2im_cpu(const Window2d& window, std::int64_t planes, const T* columns,
                T* images) {
  const std::int64_t size = window.output_size();
  parallel_for(0, planes, grain_for(window.taps() * size + window.input_size()),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t plane = begin; plane < end; ++plane) {
                   T* image = images + plane * window.input_size();
                   std::fill_n(image, window.input_size(), T(0));
                   // Tap order is that of Col2ImAt, so the sums are the same to
                   // the bit.
                   for (std::int64_t tap = 0; tap < window.taps(); ++tap) {
                     add_tap(
                         window, tap / window.w.kernel, tap % window.w.kernel,
                         columns + (plane * window.taps() + tap) * size, image);
                   }
                 }
               });
}

template <typename T>
void atrous_conv2d_cpu(const Conv2dShape& shape, const T* input,
                       const T* weight, const T* bias, T* output,
                       const Multiply<T>& multiply) {
  const bool pointwise = shape.window.is_pointwise();
  const auto buffer = scratch<T>(pointwise ? 0 : shape.columns_size());
  const std::int64_t size = shape.window.output_size();
  const std::int64_t rows = shape.group_rows();
  for (std::int64_t n = 0; n < shape.batch; ++n) {
    const T* columns =
        columns_of(shape, input + n * shape.input_size(), buffer.get());
    T* image = output + n * shape.output_size();
    for (std::int64_t group = 0; group < shape.groups; ++group) {
      MatrixProduct<T> product;
      product.a = weight + group * shape.group_filters() * rows;
      product.b = columns + group * rows * size;
      product.c = image + group * shape.group_filters() * size;
      product.m = shape.group_filters();
      product.n = size;
      product.k = rows;
      multiply(product);
    }
    if (bias != nullptr) add_bias(shape, bias, image);
  }
}

template <typename T>
void atrous_conv2d_backward_cpu(const Conv2dShape& shape, const T* grad_output,
                                const T* input, const T* weight, T* grad_input,
                                T* grad_weight, T* grad_bias,
                                const Multiply<T>& multiply) {
  const bool pointwise = shape.window.is_pointwise();
  const auto buffer = scratch<T>(pointwise ? 0 : shape.columns_size());
  const std::int64_t size = shape.window.output_size();
  const std::int64_t rows = shape.group_rows();
  const std::int64_t group_weights = shape.group_filters() * rows;
  if (grad_bias != nullptr) sum_bias_gradient(shape, grad_output, grad_bias);
  if (grad_weight != nullptr) {
    std::fill_n(grad_weight, shape.groups * group_weights, T(0));
  }
  for (std::int64_t n = 0; n < shape.batch; ++n) {
    const T* grad = grad_output + n * shape.output_size();
    if (grad_weight != nullptr) {
      const T* columns =
          columns_of(shape, input + n * shape.input_size(), buffer.get());
      for (std::int64_t group = 0; group < shape.groups; ++group) {
        MatrixProduct<T> product;
        product.a = grad + group * shape.group_filters() * size;
        product.b = columns + group * rows * size;
        product.b_transposed = true;
        product.c = grad_weight + group * group_weights;
        product.m = shape.group_filters();
        product.n = rows;
        product.k = size;
        product.accumulate = true;
        multiply(product);
      }
    }
    if (grad_input != nullptr) {
      T* image = grad_input + n * shape.input_size();
      T* columns = pointwise ? image : buffer.get();
      for (std::int64_t group = 0; group < shape.groups; ++group) {
        MatrixProduct<T> product;
        product.a = weight + group * group_weights;
        product.a_transposed = true;
        product.b = grad + group * shape.group_filters() * size;
        product.c = columns + group * rows * size;
        product.m = rows;
        product.n = size;
        product.k = shape.group_filters();
        multiply(product);
      }
      if (!pointwise) col2im_cpu(shape.window, shape.channels, columns, image);
    }
  }
}

#define DEEPLAB_INSTANTIATE(T)                                             \
  template void im2col_cpu(const Window2d&, std::int64_t, const T*, T*);   \
  template void col2im_cpu(const Window2d&, std::int64_t, const T*, T*);   \
  template void atrous_conv2d_cpu(const Conv2dShape&, const T*, const T*,  \
                                  const T*, T*, const Multiply<T>&);       \
  template void atrous_conv2d_backward_cpu(const Conv2dShape&, const T*,   \
                                           const T*, const T*, T*, T*, T*, \
                                           const Multiply<T>&);

DEEPLAB_INSTANTIATE(float)
DEEPLAB_INSTANTIATE(double)

#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
