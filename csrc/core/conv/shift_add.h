// A map summed over shifted maps, and its adjoint. values [N, H, W, T, F]; maps
// [N, H, W, F]; tap t of output (y, x) is met at (y + h[t], x + w[t]), nothing
// where that lies outside. Functors of one index, as in core/conv/batched.h.
#pragma once

#include <cstdint>

#include "csrc/core/conv/divider.h"
#include "csrc/core/conv/im2col.h"
#include "csrc/core/macros.h"

namespace deeplab {

// Part of the taps, small enough to travel as a kernel's argument.
struct Shifts {
  static constexpr int kMost = 64;

  int count = 0;
  std::int32_t h[kMost] = {};
  std::int32_t w[kMost] = {};
};

struct ShiftedMaps {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t taps = 0;       // T of `values`
  std::int64_t first_tap = 0;  // where Shifts begin
  std::int64_t filters = 0;

  DEEPLAB_HD bool inside(std::int64_t y, std::int64_t x) const {
    return y >= 0 && y < height && x >= 0 && x < width;
  }
  DEEPLAB_HD std::int64_t value_at(std::int64_t image, std::int64_t y,
                                   std::int64_t x, std::int64_t shift) const {
    return (((image * height + y) * width + x) * taps + first_tap + shift) *
           filters;
  }
};

// One value of the maps [N, H, W, F]; adds to it with `accumulate`.
template <typename T>
struct ShiftAdd {
  ShiftedMaps maps;
  Shifts shifts;
  Divider by_filters;
  Divider by_width;
  Divider by_height;
  bool accumulate = false;
  const T* values = nullptr;
  T* result = nullptr;

  DEEPLAB_HD void operator()(std::uint32_t index) const {
    const Divider::Parts filter = by_filters(index);
    const Divider::Parts x = by_width(filter.quotient);
    const Divider::Parts y = by_height(x.quotient);
    typename SumOf<T>::Type sum = 0;
    if (accumulate) sum = SumOf<T>::widen(result[index]);
    for (int t = 0; t < shifts.count; ++t) {
      const std::int64_t met_y = std::int64_t(y.remainder) + shifts.h[t];
      const std::int64_t met_x = std::int64_t(x.remainder) + shifts.w[t];
      if (!maps.inside(met_y, met_x)) continue;
      sum += SumOf<T>::widen(values[maps.value_at(y.quotient, met_y, met_x, t) +
                                    filter.remainder]);
    }
    result[index] = SumOf<T>::narrow(sum);
  }
};

// The values [N, H, W, shifts, F] that one value of [N, H, W, F] meets.
template <typename T>
struct ShiftGather {
  ShiftedMaps maps;
  Shifts shifts;
  Divider by_filters;
  Divider by_width;
  Divider by_height;
  const T* source = nullptr;
  T* values = nullptr;

  DEEPLAB_HD void operator()(std::uint32_t index) const {
    const Divider::Parts filter = by_filters(index);
    const Divider::Parts x = by_width(filter.quotient);
    const Divider::Parts y = by_height(x.quotient);
    for (int t = 0; t < shifts.count; ++t) {
      const std::int64_t out_y = std::int64_t(y.remainder) - shifts.h[t];
      const std::int64_t out_x = std::int64_t(x.remainder) - shifts.w[t];
      T value{};
      if (maps.inside(out_y, out_x)) {
        value =
            source[((y.quotient * maps.height + out_y) * maps.width + out_x) *
                       maps.filters +
                   filter.remainder];
      }
      values[maps.value_at(y.quotient, y.remainder, x.remainder, t) +
             filter.remainder] = value;
    }
  }
};

}  // namespace deeplab
