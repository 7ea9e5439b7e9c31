// Mean-field inference of a fully connected CRF: the per-pixel formulas.
//   Q = softmax(-U - M sum_m w_m Khat_m Q),  Potts: M = -I
// (Kraehenbuehl and Koltun 2011, eq. 2 and 4; self term included as in their
// code).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "csrc/core/crf/lattice.h"
#include "csrc/core/macros.h"

namespace deeplab {

// Where the raw filter K is divided by the filtered ones n = K 1.
enum class Normalization : int { kNo, kBefore, kAfter, kSymmetric };

// The pairwise energy between labels, times each kernel's weight.
enum class Compatibility : int { kPotts, kDiagonal, kMatrix };

// Guards 1 / n, as both references do.
template <typename scalar_t>
DEEPLAB_HD scalar_t norm_floor() {
  return scalar_t(1e-20);
}

// Factor on a point's values before the filter.
template <typename scalar_t>
DEEPLAB_HD scalar_t input_scale(scalar_t norm, Normalization mode) {
  const scalar_t n = norm + norm_floor<scalar_t>();
  if (mode == Normalization::kBefore) return scalar_t(1) / n;
  if (mode == Normalization::kSymmetric) return scalar_t(1) / std::sqrt(n);
  return scalar_t(1);
}

// Factor on a point's filtered values.
template <typename scalar_t>
DEEPLAB_HD scalar_t output_scale(scalar_t norm, Normalization mode) {
  const scalar_t n = norm + norm_floor<scalar_t>();
  if (mode == Normalization::kAfter) return scalar_t(1) / n;
  if (mode == Normalization::kSymmetric) return scalar_t(1) / std::sqrt(n);
  return scalar_t(1);
}

// exp(x) for x <= 0, the argument of a max-subtracted softmax; exactly 0 below
// -80. Range reduction and polynomial of the Cephes library (relative error
// 2e-7): plain arithmetic, so that it vectorises and gives the same bits on
// every device.
DEEPLAB_HD float exp_nonpositive(float x) {
  constexpr float kLog2E = 1.44269504088896341f;
  constexpr float kLn2High = 0.693359375f;
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kRoundingBias = 12582912.0f;  // 1.5 * 2^23
  const float clamped = x < -80.0f ? -80.0f : x;
  const float shifted = clamped * kLog2E + kRoundingBias;
  std::int32_t bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  const float n = shifted - kRoundingBias;
  const float r = (clamped - n * kLn2High) - n * kLn2Low;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  // The low mantissa bits of `shifted` hold the integer n.
  const std::int32_t exponent = (bits - 0x4b400000 + 127) << 23;
  float power;
  std::memcpy(&power, &exponent, sizeof(power));
  return x < -80.0f ? 0.0f : p * power;
}
DEEPLAB_HD double exp_nonpositive(double x) { return std::exp(x); }

// Energy contribution of label `l` given the weighted sum of the filtered
// marginals of all labels; compatibility [L] or [L, L] as `kind` says.
template <typename scalar_t>
DEEPLAB_HD scalar_t pairwise_energy(const scalar_t* filtered, int l, int labels,
                                    Compatibility kind,
                                    const scalar_t* compatibility) {
  if (kind == Compatibility::kPotts) return -filtered[l];
  if (kind == Compatibility::kDiagonal) return compatibility[l] * filtered[l];
  scalar_t sum = 0;
  for (int k = 0; k < labels; ++k) {
    sum +=
        compatibility[static_cast<std::int64_t>(l) * labels + k] * filtered[k];
  }
  return sum;
}

// One image's problem: energies unary_factor * unary [L, P]; lattices and
// weights of its kernels, each over the same P points; compatibility null, [L]
// or [L, L].
template <typename scalar_t>
struct MeanfieldProblem {
  const scalar_t* unary;
  scalar_t unary_factor = 1;
  std::int64_t labels;
  std::int64_t points;
  std::vector<double> weights;
  Compatibility kind;
  const scalar_t* compatibility;
  Normalization normalization;
  int iterations;
};

}  // namespace deeplab
