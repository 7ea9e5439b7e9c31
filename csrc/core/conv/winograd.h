// One-dimensional Winograd transforms F(m, 3): m outputs of a three-tap filter
// from m + 2 inputs with m + 2 products; nested twice for two dimensions
// (Lavin and Gray 2016). S is the scalar type, V what is transformed: a scalar
// or a vector of them.
//
// F(2, 3) takes the points 0, 1, -1, infinity. F(4, 3) takes 0, +-1/sqrt(2),
// +-sqrt(2), infinity instead of the usual 0, +-1, +-2: as cheap, and its
// rounding error is a quarter.
#pragma once

#include "csrc/core/macros.h"

namespace deeplab {

template <int kOutputs>
struct Winograd;

template <>
struct Winograd<2> {
  static constexpr int kOutputs = 2;
  static constexpr int kInputs = 4;

  template <typename S, typename V>
  static DEEPLAB_HD void input(const V d[4], V out[4]) {
    out[0] = d[0] - d[2];
    out[1] = d[2] + d[1];
    out[2] = d[2] - d[1];
    out[3] = d[3] - d[1];
  }

  template <typename S, typename V>
  static DEEPLAB_HD void weight(const V g[3], V out[4]) {
    const V even = S(0.5) * (g[0] + g[2]);
    const V odd = S(0.5) * g[1];
    out[0] = g[0];
    out[1] = even + odd;
    out[2] = even - odd;
    out[3] = g[2];
  }

  template <typename S, typename V>
  static DEEPLAB_HD void output(const V m[4], V out[2]) {
    out[0] = m[0] + m[1] + m[2];
    out[1] = m[1] - m[2] + m[3];
  }
};

template <>
struct Winograd<4> {
  static constexpr int kOutputs = 4;
  static constexpr int kInputs = 6;
  static constexpr double kRoot = 1.41421356237309504880;
  static constexpr double kHalfRoot = 0.70710678118654752440;

  template <typename S, typename V>
  static DEEPLAB_HD void input(const V d[6], V out[6]) {
    const V even1 = d[4] - S(2) * d[2];
    const V odd1 = S(kHalfRoot) * (d[3] - S(2) * d[1]);
    const V even2 = d[4] - S(0.5) * d[2];
    const V odd2 = S(kRoot) * (d[3] - S(0.5) * d[1]);
    out[0] = d[0] + d[4] - S(2.5) * d[2];
    out[1] = even1 + odd1;
    out[2] = even1 - odd1;
    out[3] = even2 + odd2;
    out[4] = even2 - odd2;
    out[5] = d[1] + d[5] - S(2.5) * d[3];
  }

  template <typename S, typename V>
  static DEEPLAB_HD void weight(const V g[3], V out[6]) {
    const V even1 = S(-2.0 / 3) * (g[0] + S(0.5) * g[2]);
    const V odd1 = S(-2.0 / 3 * kHalfRoot) * g[1];
    const V even2 = S(1.0 / 6) * (g[0] + S(2) * g[2]);
    const V odd2 = S(1.0 / 6 * kRoot) * g[1];
    out[0] = g[0];
    out[1] = even1 + odd1;
    out[2] = even1 - odd1;
    out[3] = even2 + odd2;
    out[4] = even2 - odd2;
    out[5] = g[2];
  }

  template <typename S, typename V>
  static DEEPLAB_HD void output(const V m[6], V out[4]) {
    const V sum1 = m[1] + m[2];
    const V sum2 = m[3] + m[4];
    const V difference1 = S(kHalfRoot) * (m[1] - m[2]);
    const V difference2 = S(kRoot) * (m[3] - m[4]);
    out[0] = m[0] + sum1 + sum2;
    out[1] = difference1 + difference2;
    out[2] = S(0.5) * sum1 + S(2) * sum2;
    out[3] = S(0.5) * difference1 + S(2) * difference2 + m[5];
  }
};

}  // namespace deeplab
