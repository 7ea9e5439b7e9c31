// Geometry of a sliding window: which input position an output position and a
// kernel tap meet. Every formula is templated on its integer, so that the same
// one serves int64 on both devices and torch's symbolic integers.
#pragma once

#include <cstdint>
#include <limits>

#include "csrc/core/macros.h"

namespace deeplab {

// Input positions from the first to the last tap of one window.
template <typename Int>
DEEPLAB_HD Int window_extent(const Int& kernel, const Int& dilation) {
  return dilation * (kernel - 1) + 1;
}

// Number of window positions; meaningful where the window's extent is at most
// the padded input.
template <typename Int>
DEEPLAB_HD Int window_output(const Int& input, const Int& kernel,
                             const Int& stride, const Int& padding,
                             const Int& dilation) {
  return (input + padding * 2 - window_extent(kernel, dilation)) / stride + 1;
}

// One axis of a window.
struct WindowAxis {
  std::int64_t input = 1;
  std::int64_t kernel = 1;
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  std::int64_t dilation = 1;
  std::int64_t output = 1;

  // Input position met by tap `tap` at output `out`; outside [0, input) is
  // zero padding.
  DEEPLAB_HD std::int64_t position(std::int64_t out, std::int64_t tap) const {
    return out * stride - padding + tap * dilation;
  }

  DEEPLAB_HD bool inside(std::int64_t position) const {
    return position >= 0 && position < input;
  }

  // Inverse of position(): the output where tap `tap` meets `position`, or -1.
  DEEPLAB_HD std::int64_t output_at(std::int64_t position,
                                    std::int64_t tap) const {
    const std::int64_t numerator = position + padding - tap * dilation;
    if (numerator < 0 || numerator % stride != 0) return -1;
    const std::int64_t out = numerator / stride;
    return out < output ? out : -1;
  }

  // Outputs [first_inside, end_inside) of tap `tap` meet the input; the range
  // is empty (first == end) for a tap that never does.
  DEEPLAB_HD std::int64_t first_inside(std::int64_t tap) const {
    const std::int64_t lacking = padding - tap * dilation;
    const std::int64_t first = lacking > 0 ? (lacking - 1) / stride + 1 : 0;
    return first < output ? first : output;
  }

  DEEPLAB_HD std::int64_t end_inside(std::int64_t tap) const {
    const std::int64_t reach = input + padding - tap * dilation;
    const std::int64_t end = reach > 0 ? (reach - 1) / stride + 1 : 0;
    const std::int64_t first = first_inside(tap);
    if (end <= first) return first;
    return end < output ? end : output;
  }
};

// Largest value of any WindowAxis field but `output`: sums and products of two
// such values then stay within int64.
constexpr std::int64_t kMaxWindowValue =
    std::numeric_limits<std::int32_t>::max();

inline WindowAxis make_window_axis(std::int64_t input, std::int64_t kernel,
                                   std::int64_t stride, std::int64_t padding,
                                   std::int64_t dilation) {
  return {input,    kernel,
          stride,   padding,
          dilation, window_output(input, kernel, stride, padding, dilation)};
}

struct Window2d {
  WindowAxis h;
  WindowAxis w;

  DEEPLAB_HD std::int64_t taps() const { return h.kernel * w.kernel; }
  DEEPLAB_HD std::int64_t input_size() const { return h.input * w.input; }
  DEEPLAB_HD std::int64_t output_size() const { return h.output * w.output; }

  // True where every column is the input itself.
  DEEPLAB_HD bool is_pointwise() const {
    return h.kernel == 1 && w.kernel == 1 && h.stride == 1 && w.stride == 1 &&
           h.padding == 0 && w.padding == 0;
  }
};

// input [batch, channels, ...], weight [filters, channels / groups, ...].
struct Conv2dShape {
  std::int64_t batch = 0;
  std::int64_t channels = 0;
  std::int64_t filters = 0;
  std::int64_t groups = 1;
  Window2d window;

  std::int64_t group_filters() const { return filters / groups; }
  // Rows of the columns one group's filters see.
  std::int64_t group_rows() const { return channels / groups * window.taps(); }
  // Elements of one image's input, output and columns.
  std::int64_t input_size() const { return channels * window.input_size(); }
  std::int64_t output_size() const { return filters * window.output_size(); }
  std::int64_t columns_size() const {
    return channels * window.taps() * window.output_size();
  }
};

// The convolution that makes the input gradient of `shape` (stride 1) from the
// output gradient; its padding may be negative.
inline Conv2dShape mirrored_shape(const Conv2dShape& shape) {
  const auto mirrored = [](const WindowAxis& axis) {
    const std::int64_t reach = axis.dilation * (axis.kernel - 1);
    return WindowAxis{axis.output,          axis.kernel,   1,
                      reach - axis.padding, axis.dilation, axis.input};
  };
  Conv2dShape result = shape;
  result.channels = shape.filters;
  result.filters = shape.channels;
  result.window = {mirrored(shape.window.h), mirrored(shape.window.w)};
  return result;
}

}  // namespace deeplab
