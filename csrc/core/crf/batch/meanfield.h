// Mean-field inference over the lattices of a batch, one point at a time:
// normalisation, the range of half-precision rows, and the fused slice +
// normalise + compatibility + softmax. Formulas are those of meanfield.h.
#pragma once

#include <cmath>
#include <cstdint>

#include "csrc/core/atomics.h"
#include "csrc/core/crf/batch/rows.h"
#include "csrc/core/crf/meanfield.h"
#include "csrc/core/macros.h"

namespace deeplab {

// Slice of one channel of rows [V, 8] at point i.
template <typename scalar_t, typename storage_t>
DEEPLAB_HD scalar_t slice_first_channel(const BatchLattice<scalar_t>& lattice,
                                        const storage_t* rows, std::int64_t i) {
  scalar_t sum = 0;
  for (int q = 0; q < lattice.corners(); ++q) {
    const std::int64_t at =
        i * lattice.point_stride + q * lattice.corner_stride;
    sum += lattice.weights[at] *
           load_value(rows[std::int64_t{lattice.vertices[at]} * kRowBlock]);
  }
  return sum;
}

// A point's factors before and after the filter, from rows [V, 8] of filtered
// ones (null: no normalisation). Item: a point of the table.
template <typename scalar_t>
struct FactorsAt {
  BatchLattice<scalar_t> lattice;
  const scalar_t* rows;
  Normalization mode;
  scalar_t* input;   // [points]
  scalar_t* output;  // [points] slice scale included

  DEEPLAB_HD void operator()(std::int64_t i) const {
    const scalar_t scale = slice_scale<scalar_t>(lattice.features);
    input[i] = scalar_t(1);
    output[i] = scale;
    if (rows == nullptr) return;
    const scalar_t norm = scale * slice_first_channel(lattice, rows, i);
    input[i] = input_scale(norm, mode);
    output[i] = scale * output_scale(norm, mode);
  }
};

// Item: a position of the splat list.
template <typename scalar_t>
struct ScaleSplatAt {
  BatchLattice<scalar_t> lattice;
  const scalar_t* input;

  DEEPLAB_HD void operator()(std::int64_t k) const {
    lattice.splat_weights[k] *= input[lattice.splat_points[k]];
  }
};

// Half-precision rows. No marginal exceeds 1, so a vertex' rows never exceed
// those of ones; a power of two per image brings the largest of these to half
// of the greatest half-precision number.

// Greatest row of ones of each image, as bits. Item: a point of the table.
template <typename scalar_t>
struct RangeAt {
  BatchLattice<scalar_t> lattice;
  const scalar_t* rows;  // [V, 8]
  std::int64_t image_points;
  std::int32_t* range;  // [images] starting at 0

  DEEPLAB_HD void operator()(std::int64_t i) const {
    float most = 0;
    for (int q = 0; q < lattice.corners(); ++q) {
      const std::int64_t at =
          i * lattice.point_stride + q * lattice.corner_stride;
      const auto value = static_cast<float>(
          rows[std::int64_t{lattice.vertices[at]} * kRowBlock]);
      most = value > most ? value : most;
    }
    std::int32_t* place = range + i / image_points;
    std::int32_t known = *place;
    float so_far;
    std::memcpy(&so_far, &known, sizeof(so_far));
    // Another thread may have raised it since: then the atomic does nothing.
    if (most > so_far) atomic_raise(place, most);
  }
};

// The power of two that brings `most` > 0 into (kHalfMax / 4, kHalfMax / 2].
DEEPLAB_HD float half_range_scale(float most) {
  if (!(most > 0.0f)) return 1.0f;
  // 2^120 keeps the factor and its inverse far from float's own limits.
  float scale = 1.0f;
  int steps = 0;
  while (most * scale > kHalfMax / 2 && steps++ < 120) scale *= 0.5f;
  while (most * scale <= kHalfMax / 4 && steps++ < 120) scale *= 2.0f;
  return scale;
}

// Item: a position of the splat list.
template <typename scalar_t>
struct RangeSplatAt {
  BatchLattice<scalar_t> lattice;
  std::int64_t image_points;
  const std::int32_t* range;

  DEEPLAB_HD void operator()(std::int64_t k) const {
    float most;
    std::memcpy(&most, range + lattice.splat_points[k] / image_points,
                sizeof(most));
    lattice.splat_weights[k] *= half_range_scale(most);
  }
};

// Item: a point of the table.
template <typename scalar_t>
struct RangeOutputAt {
  std::int64_t image_points;
  const std::int32_t* range;
  scalar_t* output;

  DEEPLAB_HD void operator()(std::int64_t i) const {
    float most;
    std::memcpy(&most, range + i / image_points, sizeof(most));
    output[i] /= half_range_scale(most);
  }
};

// What an update reads of one kernel.
template <typename scalar_t, typename storage_t>
struct KernelSlice {
  const std::int32_t* vertices;
  const scalar_t* weights;
  std::int64_t point_stride;
  std::int64_t corner_stride;
  int corners;
  bool shared;  // one table for all images, a copy of its rows each
  std::int64_t vertex_rows;  // of all copies
  std::int64_t vertex_count;
  const storage_t* rows;          // [blocks, vertex_rows, 8] blurred
  const scalar_t* output;         // [points of the table]
  const scalar_t* image_weights;  // [images]
};

// marginals = softmax(-unary - pairwise energies of the kernels' messages).
// Item: a point of the batch. kHeld blocks of labels stay in registers, for
// Potts and diagonal compatibilities; kHeld 0 takes any number of labels and
// any compatibility, through memory.
template <typename scalar_t, typename storage_t, int kHeld>
struct UpdateAt {
  const scalar_t* unary;  // [images, labels, image_points]
  std::int64_t image_points;
  std::int64_t points;  // of the batch
  int labels;
  int blocks;
  int kernel_count;  // 0 in the first round: no messages yet
  KernelSlice<scalar_t, storage_t> kernels[kMaxKernels];
  Compatibility kind;
  const scalar_t* compatibility;
  storage_t* marginals;  // [blocks, points, 8]
  scalar_t* messages;    // [blocks, points, 8] scratch, for a matrix
  scalar_t* logits;      // [blocks, points, 8] scratch, where kHeld is 0

  DEEPLAB_HD void operator()(std::int64_t i) const {
    const std::int64_t image = i / image_points;
    const std::int64_t pixel = i - image * image_points;
    const scalar_t* energies = unary + image * labels * image_points + pixel;
    if (kHeld > 0) {
      in_registers(i, image, pixel, energies);
    } else {
      through_memory(i, image, pixel, energies);
    }
  }

 private:
  // The weighted sum of the kernels' filtered marginals, one block of labels.
  DEEPLAB_HD void message(std::int64_t i, std::int64_t image,
                          std::int64_t pixel, int block, scalar_t* sum) const {
    using Row = Lane<storage_t>;
    for (int c = 0; c < kRowBlock; ++c) sum[c] = 0;
    for (int m = 0; m < kernel_count; ++m) {
      const KernelSlice<scalar_t, storage_t>& kernel = kernels[m];
      const std::int64_t point = kernel.shared ? pixel : i;
      const std::int64_t first =
          kernel.shared ? image * kernel.vertex_count : 0;
      const storage_t* rows =
          kernel.rows + block * kernel.vertex_rows * kRowBlock;
      scalar_t own[kRowBlock];
      for (int c = 0; c < kRowBlock; ++c) own[c] = 0;
      for (int q = 0; q < kernel.corners; ++q) {
        const std::int64_t at =
            point * kernel.point_stride + q * kernel.corner_stride;
        const scalar_t weight = kernel.weights[at];
        const std::int64_t row = first + kernel.vertices[at];
        for (int lane = 0; lane < Row::kPerRow; ++lane) {
          const Row read = lane_at(rows, row, lane);
          for (int c = 0; c < Row::kWidth; ++c) {
            own[lane * Row::kWidth + c] += weight * load_value(read.values[c]);
          }
        }
      }
      const scalar_t scale = kernel.image_weights[image] * kernel.output[point];
      for (int c = 0; c < kRowBlock; ++c) sum[c] += scale * own[c];
    }
  }

  // -unary - energy of one label that only its own message matters to.
  DEEPLAB_HD scalar_t logit(const scalar_t* energies, int label,
                            const scalar_t* own_message) const {
    scalar_t value = -energies[label * image_points];
    if (kernel_count > 0) {
      value -= pairwise_energy(
          own_message, 0, 1, kind,
          kind == Compatibility::kPotts ? nullptr : compatibility + label);
    }
    return value;
  }

  DEEPLAB_HD void write(std::int64_t i, int block, const scalar_t* q) const {
    using Row = Lane<storage_t>;
    for (int lane = 0; lane < Row::kPerRow; ++lane) {
      Row written;
      for (int c = 0; c < Row::kWidth; ++c) {
        store_value(q[lane * Row::kWidth + c], written.values[c]);
      }
      lane_at(marginals + block * points * kRowBlock, i, lane) = written;
    }
  }

  DEEPLAB_HD void in_registers(std::int64_t i, std::int64_t image,
                               std::int64_t pixel,
                               const scalar_t* energies) const {
    constexpr int kLabels = (kHeld > 0 ? kHeld : 1) * kRowBlock;
    scalar_t values[kLabels];
    scalar_t most = 0;
    DEEPLAB_UNROLL
    for (int block = 0; block < kLabels / kRowBlock; ++block) {
      message(i, image, pixel, block, values + block * kRowBlock);
      DEEPLAB_UNROLL
      for (int c = 0; c < kRowBlock; ++c) {
        const int label = block * kRowBlock + c;
        if (label < labels) {
          values[label] = logit(energies, label, values + label);
          most = label == 0 || values[label] > most ? values[label] : most;
        }
      }
    }
    scalar_t sum = 0;
    DEEPLAB_UNROLL
    for (int label = 0; label < kLabels; ++label) {
      values[label] =
          label < labels ? exp_nonpositive(values[label] - most) : scalar_t(0);
      sum += values[label];
    }
    const scalar_t inverse = scalar_t(1) / sum;
    DEEPLAB_UNROLL
    for (int label = 0; label < kLabels; ++label) values[label] *= inverse;
    DEEPLAB_UNROLL
    for (int block = 0; block < kLabels / kRowBlock; ++block) {
      write(i, block, values + block * kRowBlock);
    }
  }

  DEEPLAB_HD scalar_t* scratch(scalar_t* array, std::int64_t i,
                               int label) const {
    return array + (label / kRowBlock * points + i) * kRowBlock +
           label % kRowBlock;
  }

  DEEPLAB_HD void through_memory(std::int64_t i, std::int64_t image,
                                 std::int64_t pixel,
                                 const scalar_t* energies) const {
    const bool matrix = kind == Compatibility::kMatrix && kernel_count > 0;
    scalar_t most = 0;
    for (int block = 0; block < blocks; ++block) {
      scalar_t sum[kRowBlock];
      message(i, image, pixel, block, sum);
      for (int c = 0; c < kRowBlock; ++c) {
        const int label = block * kRowBlock + c;
        if (label >= labels) continue;
        if (matrix) {
          *scratch(messages, i, label) = sum[c];
          continue;
        }
        const scalar_t value = logit(energies, label, sum + c);
        *scratch(logits, i, label) = value;
        most = label == 0 || value > most ? value : most;
      }
    }
    if (matrix) {
      for (int label = 0; label < labels; ++label) {
        const scalar_t* row = compatibility + std::int64_t{label} * labels;
        scalar_t energy = 0;
        for (int k = 0; k < labels; ++k) {
          energy += row[k] * *scratch(messages, i, k);
        }
        const scalar_t value = -energies[label * image_points] - energy;
        *scratch(logits, i, label) = value;
        most = label == 0 || value > most ? value : most;
      }
    }
    scalar_t sum = 0;
    for (int label = 0; label < labels; ++label) {
      scalar_t* place = scratch(logits, i, label);
      *place = exp_nonpositive(*place - most);
      sum += *place;
    }
    const scalar_t inverse = scalar_t(1) / sum;
    for (int block = 0; block < blocks; ++block) {
      scalar_t q[kRowBlock];
      for (int c = 0; c < kRowBlock; ++c) {
        const int label = block * kRowBlock + c;
        q[c] =
            label < labels ? *scratch(logits, i, label) * inverse : scalar_t(0);
      }
      write(i, block, q);
    }
  }
};

// marginals [blocks, points, 8] to out [images, labels, image_points]. Item: a
// point of the batch.
template <typename scalar_t, typename storage_t>
struct FromBlocksAt {
  const storage_t* marginals;
  std::int64_t image_points;
  std::int64_t points;
  std::int64_t labels;
  scalar_t* out;

  DEEPLAB_HD void operator()(std::int64_t i, int block) const {
    const std::int64_t image = i / image_points;
    const storage_t* from = marginals + (block * points + i) * kRowBlock;
    scalar_t* to =
        out + image * labels * image_points + i - image * image_points;
    for (int c = 0; c < kRowBlock; ++c) {
      const std::int64_t label = std::int64_t{block} * kRowBlock + c;
      if (label < labels) to[label * image_points] = load_value(from[c]);
    }
  }
};

}  // namespace deeplab
