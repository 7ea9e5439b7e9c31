// Sparse-sampled im2col and its adjoint: a column holds the input samples that
// a dilated window's taps meet, and no sample in between (Chen et al. 2015,
// section 3.1: the "hole" algorithm as Caffe's im2col implements it).
//
// A plane is one channel of one image; planes are independent, so batch and
// channels are one index here. images: [planes, H, W];
// columns: [planes, kernel_h * kernel_w, output_h * output_w].
#pragma once

#include <cstdint>

#include "csrc/core/conv/window.h"
#include "csrc/core/macros.h"

namespace deeplab {

// The type in which values of T are summed; reduced types specialise it.
template <typename T>
struct SumOf {
  using Type = T;
  static DEEPLAB_HD Type widen(T value) { return value; }
  static DEEPLAB_HD T narrow(Type sum) { return sum; }
};

template <typename T>
struct Im2ColAt {
  Window2d window;
  const T* images;

  // The sample that tap (tap_h, tap_w) meets at output (out_h, out_w).
  DEEPLAB_HD T operator()(std::int64_t plane, std::int64_t tap_h,
                          std::int64_t tap_w, std::int64_t out_h,
                          std::int64_t out_w) const {
    const std::int64_t y = window.h.position(out_h, tap_h);
    const std::int64_t x = window.w.position(out_w, tap_w);
    if (!window.h.inside(y) || !window.w.inside(x)) return T{};
    return images[(plane * window.h.input + y) * window.w.input + x];
  }
};

// Gathers what each input position contributed to, so that one thread owns one
// result: deterministic without atomics.
template <typename T>
struct Col2ImAt {
  Window2d window;
  const T* columns;

  DEEPLAB_HD T operator()(std::int64_t plane, std::int64_t y,
                          std::int64_t x) const {
    typename SumOf<T>::Type sum = 0;
    for (std::int64_t tap_h = 0; tap_h < window.h.kernel; ++tap_h) {
      const std::int64_t out_h = window.h.output_at(y, tap_h);
      if (out_h < 0) continue;
      for (std::int64_t tap_w = 0; tap_w < window.w.kernel; ++tap_w) {
        const std::int64_t out_w = window.w.output_at(x, tap_w);
        if (out_w < 0) continue;
        const std::int64_t row =
            plane * window.taps() + tap_h * window.w.kernel + tap_w;
        sum += SumOf<T>::widen(
            columns[(row * window.h.output + out_h) * window.w.output + out_w]);
      }
    }
    return SumOf<T>::narrow(sum);
  }
};

}  // namespace deeplab
