// The fully connected CRF without a lattice: Gaussian weights of all pairs of
// points, block against block, and a bound on what skipping far blocks does.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "csrc/core/crf/meanfield.h"
#include "csrc/core/macros.h"

namespace deeplab {

// Points of one block. Any order of the points is correct; blocks of points
// that lie close together let more pairs of blocks be skipped.
constexpr int kExactBlock = 64;

// exp(-distance^2 / 2)
template <typename scalar_t>
DEEPLAB_HD scalar_t gaussian_weight(scalar_t squared_distance) {
  return exp_nonpositive(scalar_t(-0.5) * squared_distance);
}

// Least squared distance between two boxes, each [2, d]: low corner, high
// corner.
template <typename scalar_t>
DEEPLAB_HD scalar_t box_distance(const scalar_t* a, const scalar_t* b, int d) {
  scalar_t sum = 0;
  for (int j = 0; j < d; ++j) {
    const scalar_t above = a[j] - b[d + j];
    const scalar_t below = b[j] - a[d + j];
    const scalar_t gap = above > below ? above : below;
    if (gap > scalar_t(0)) sum += gap * gap;
  }
  return sum;
}

// Bound on the change of a point's normalised filter when pairs of total
// weight `skipped` were left out. With r = skipped / norm, the true factors are
// within (1 - r) of the computed ones, so the kept part is off by r times
// itself for each factor in use, and the left-out part is at most
// skipped * largest input factor. `filtered_input` = sum_j k_ij s_j and
// `filtered_ratio` = sum_j k_ij s_j r_j over the kept pairs.
template <typename scalar_t>
DEEPLAB_HD scalar_t skipping_error(scalar_t norm, scalar_t skipped,
                                   scalar_t filtered_input,
                                   scalar_t filtered_ratio,
                                   scalar_t largest_input, Normalization mode) {
  scalar_t change = skipped * largest_input;
  if (mode == Normalization::kAfter || mode == Normalization::kSymmetric) {
    change += skipped / (norm + norm_floor<scalar_t>()) * filtered_input;
  }
  if (mode == Normalization::kBefore || mode == Normalization::kSymmetric) {
    change += filtered_ratio;
  }
  return change * output_scale(norm, mode);
}

// Bound on the change of a softmax's largest-moving entry q when no logit moves
// by more than `shift`: every ratio of two entries changes by at most
// exp(2 shift), and an entry and its complement both do.
template <typename scalar_t>
DEEPLAB_HD scalar_t softmax_error(scalar_t largest_min_q, scalar_t shift) {
  // Beyond 1 the bound says nothing.
  if (!(shift < scalar_t(20))) return scalar_t(1);
  const scalar_t bound =
      largest_min_q * (std::exp(scalar_t(2) * shift) - scalar_t(1));
  return bound < scalar_t(1) ? bound : scalar_t(1);
}

// One image's problem; features[m] [P, d[m]] of each kernel. Block pairs whose
// weights all lie below `skip_below` are left out (0: none).
template <typename scalar_t>
struct ExactProblem {
  const scalar_t* unary;  // [L, P]
  std::int64_t labels;
  std::int64_t points;
  std::vector<const scalar_t*> features;
  std::vector<int> dimensions;
  std::vector<double> weights;
  Compatibility kind;
  const scalar_t* compatibility;
  Normalization normalization;
  int iterations;
  double skip_below;
};

// Largest factor by which the compatibility turns an error of the filtered
// marginals into one of the logits: the maximum norm of its rows.
template <typename scalar_t>
double compatibility_gain(Compatibility kind, const scalar_t* compatibility,
                          std::int64_t labels) {
  if (kind == Compatibility::kPotts) return 1.0;
  const std::int64_t row = kind == Compatibility::kMatrix ? labels : 1;
  double largest = 0;
  for (std::int64_t l = 0; l < labels; ++l) {
    double sum = 0;
    for (std::int64_t k = 0; k < row; ++k) {
      sum += std::abs(static_cast<double>(compatibility[l * row + k]));
    }
    largest = sum > largest ? sum : largest;
  }
  return largest;
}

}  // namespace deeplab
