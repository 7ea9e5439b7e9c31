// Filtering over the lattice of a batch, one work item at a time. Values stand
// in blocks of eight labels, [blocks, rows, 8]: a block of all vertices stays
// in the second-level cache while it is blurred, and a row of a block is moved
// in 16-byte lanes.
//
// Functors are called as f(k, block); `copies` images share a table built for
// one (a kernel of the positions alone).
#pragma once

#include <cstdint>

#include "csrc/core/crf/lattice.h"
#include "csrc/core/half.h"
#include "csrc/core/macros.h"

namespace deeplab {

constexpr int kRowBlock = 8;

// References of a vertex that one thread adds up; of longer lists a second
// stage adds the pieces' sums in their order.
constexpr int kPiece = 64;

// Kernels of one CRF.
constexpr int kMaxKernels = 8;

DEEPLAB_HD float load_value(float value) { return value; }
DEEPLAB_HD double load_value(double value) { return value; }
DEEPLAB_HD float load_value(Half value) { return half_to_float(value); }
DEEPLAB_HD void store_value(float value, float& place) { place = value; }
DEEPLAB_HD void store_value(double value, double& place) { place = value; }
DEEPLAB_HD void store_value(float value, Half& place) {
  place = float_to_half(value);
}

// What a thread loads of a row at once.
template <typename storage_t>
struct alignas(16) Lane {
  static constexpr int kWidth = 16 / static_cast<int>(sizeof(storage_t));
  static constexpr int kPerRow = kRowBlock / kWidth;
  storage_t values[kWidth];
};

template <typename storage_t>
DEEPLAB_HD const Lane<storage_t>& lane_at(const storage_t* block,
                                          std::int64_t row, int lane) {
  return reinterpret_cast<const Lane<storage_t>*>(
      block)[row * Lane<storage_t>::kPerRow + lane];
}
template <typename storage_t>
DEEPLAB_HD Lane<storage_t>& lane_at(storage_t* block, std::int64_t row,
                                    int lane) {
  return reinterpret_cast<Lane<storage_t>*>(
      block)[row * Lane<storage_t>::kPerRow + lane];
}

// A built lattice and its splat's reading list: plain pointers, no ownership.
template <typename scalar_t>
struct BatchLattice {
  std::int64_t points;  // of the table; images * image points, or one image's
  int features;
  std::int64_t vertex_count;
  const std::int32_t* vertices;  // strides as in BatchBuild
  const scalar_t* weights;
  std::int64_t point_stride;
  std::int64_t corner_stride;
  const std::int32_t* neighbors;  // strides as in BatchLinks
  std::int64_t vertex_stride;
  std::int64_t axis_stride;
  const std::int32_t* offsets;   // [V + 1]
  std::int32_t* splat_points;    // [entries] point of each sorted entry
  scalar_t* splat_weights;       // [entries] its weight, any factor included
  std::int32_t* piece_offsets;   // [V + 1] pieces of the long lists before v
  std::int32_t* piece_vertices;  // [piece_bound]

  DEEPLAB_HD int corners() const { return features + 1; }
  DEEPLAB_HD std::int64_t entries() const { return points * corners(); }
  // More pieces than the long lists have: each is over half full on average.
  DEEPLAB_HD std::int64_t piece_bound() const { return 2 * entries() / kPiece; }
};

// Item: a position of the sorted entries.
template <typename scalar_t>
struct SplatEntryAt {
  BatchLattice<scalar_t> lattice;
  const std::int32_t* entries;

  DEEPLAB_HD void operator()(std::int64_t k) const {
    const std::int64_t i = entries[k] / lattice.corners();
    const std::int64_t q = entries[k] - i * lattice.corners();
    lattice.splat_points[k] = static_cast<std::int32_t>(i);
    lattice.splat_weights[k] =
        lattice.weights[i * lattice.point_stride + q * lattice.corner_stride];
  }
};

// Item: a vertex, or V, the end of the sums.
template <typename scalar_t>
struct PieceCountAt {
  BatchLattice<scalar_t> lattice;
  std::int32_t* counts;  // [V + 1]

  DEEPLAB_HD void operator()(std::int64_t v) const {
    std::int32_t length = 0;
    if (v < lattice.vertex_count) {
      length = lattice.offsets[v + 1] - lattice.offsets[v];
    }
    counts[v] = length > kPiece ? (length + kPiece - 1) / kPiece : 0;
  }
};

// Item: a vertex.
template <typename scalar_t>
struct PieceOwnerAt {
  BatchLattice<scalar_t> lattice;

  DEEPLAB_HD void operator()(std::int64_t v) const {
    for (std::int32_t p = lattice.piece_offsets[v];
         p < lattice.piece_offsets[v + 1]; ++p) {
      lattice.piece_vertices[p] = static_cast<std::int32_t>(v);
    }
  }
};

// Item: lane of a vertex row of the copies, then lane of a piece of the copies.
// Short lists go to rows, pieces to `partial`.
template <typename scalar_t, typename storage_t>
struct SplatAt {
  BatchLattice<scalar_t> lattice;
  std::int64_t copies;
  const storage_t* values;  // [blocks, copies * points, 8]; null: one label, 1
  storage_t* rows;          // [blocks, copies * V, 8]
  scalar_t* partial;        // [blocks, copies * piece_bound, 8]

  DEEPLAB_HD std::int64_t work() const {
    return copies * (lattice.vertex_count + lattice.piece_bound()) *
           Lane<storage_t>::kPerRow;
  }

  DEEPLAB_HD void operator()(std::int64_t k, int block) const {
    using Row = Lane<storage_t>;
    const int lane = static_cast<int>(k % Row::kPerRow);
    std::int64_t row = k / Row::kPerRow;
    const std::int64_t vertex_rows = copies * lattice.vertex_count;
    const bool whole = row < vertex_rows;
    if (!whole) row -= vertex_rows;
    const std::int64_t per_copy =
        whole ? lattice.vertex_count : lattice.piece_bound();
    const std::int64_t copy = copies == 1 ? 0 : row / per_copy;
    const std::int64_t own = row - copy * per_copy;
    std::int64_t v = own;
    if (!whole) {
      if (own >= lattice.piece_offsets[lattice.vertex_count]) return;
      v = lattice.piece_vertices[own];
    }
    std::int64_t begin = lattice.offsets[v];
    std::int64_t end = lattice.offsets[v + 1];
    if (whole) {
      if (end - begin > kPiece) return;
    } else {
      begin += (own - lattice.piece_offsets[v]) * kPiece;
      end = begin + kPiece < end ? begin + kPiece : end;
    }

    scalar_t sum[Row::kWidth];
    for (int c = 0; c < Row::kWidth; ++c) sum[c] = 0;
    const std::int64_t first_point = copy * lattice.points;
    const storage_t* from =
        values + block * copies * lattice.points * kRowBlock;
    for (std::int64_t e = begin; e < end; ++e) {
      const scalar_t weight = lattice.splat_weights[e];
      if (values == nullptr) {
        sum[0] += weight;
        continue;
      }
      const Row read =
          lane_at(from, first_point + lattice.splat_points[e], lane);
      for (int c = 0; c < Row::kWidth; ++c) {
        sum[c] += weight * load_value(read.values[c]);
      }
    }
    if (values == nullptr && lane > 0) sum[0] = 0;
    if (whole) {
      Row written;
      for (int c = 0; c < Row::kWidth; ++c) {
        store_value(sum[c], written.values[c]);
      }
      lane_at(rows + block * vertex_rows * kRowBlock, row, lane) = written;
      return;
    }
    scalar_t* to = partial +
                   (block * copies * lattice.piece_bound() + row) * kRowBlock +
                   lane * Row::kWidth;
    for (int c = 0; c < Row::kWidth; ++c) to[c] = sum[c];
  }
};

// The second stage. Item: lane of a piece of the copies; a vertex' first piece
// adds them all in their order.
template <typename scalar_t, typename storage_t>
struct CombineAt {
  BatchLattice<scalar_t> lattice;
  std::int64_t copies;
  const scalar_t* partial;
  storage_t* rows;

  DEEPLAB_HD std::int64_t work() const {
    return copies * lattice.piece_bound() * Lane<storage_t>::kPerRow;
  }

  DEEPLAB_HD void operator()(std::int64_t k, int block) const {
    using Row = Lane<storage_t>;
    const int lane = static_cast<int>(k % Row::kPerRow);
    const std::int64_t row = k / Row::kPerRow;
    const std::int64_t bound = lattice.piece_bound();
    const std::int64_t copy = copies == 1 ? 0 : row / bound;
    const std::int64_t own = row - copy * bound;
    if (own >= lattice.piece_offsets[lattice.vertex_count]) return;
    const std::int64_t v = lattice.piece_vertices[own];
    if (lattice.piece_offsets[v] != own) return;
    scalar_t sum[Row::kWidth];
    for (int c = 0; c < Row::kWidth; ++c) sum[c] = 0;
    for (std::int64_t p = own; p < lattice.piece_offsets[v + 1]; ++p) {
      const scalar_t* from = partial +
                             ((block * copies + copy) * bound + p) * kRowBlock +
                             lane * Row::kWidth;
      for (int c = 0; c < Row::kWidth; ++c) sum[c] += from[c];
    }
    Row written;
    for (int c = 0; c < Row::kWidth; ++c) {
      store_value(sum[c], written.values[c]);
    }
    const std::int64_t vertex_rows = copies * lattice.vertex_count;
    lane_at(rows + block * vertex_rows * kRowBlock,
            copy * lattice.vertex_count + v, lane) = written;
  }
};

// Item: lane of a vertex row of the copies.
template <typename scalar_t, typename storage_t>
struct BlurAt {
  BatchLattice<scalar_t> lattice;
  std::int64_t copies;
  int axis;
  const storage_t* in;  // [blocks, copies * V, 8]
  storage_t* out;

  DEEPLAB_HD std::int64_t work() const {
    return copies * lattice.vertex_count * Lane<storage_t>::kPerRow;
  }

  DEEPLAB_HD void operator()(std::int64_t k, int block) const {
    using Row = Lane<storage_t>;
    const int lane = static_cast<int>(k % Row::kPerRow);
    const std::int64_t row = k / Row::kPerRow;
    const std::int64_t copy = copies == 1 ? 0 : row / lattice.vertex_count;
    const std::int64_t first = copy * lattice.vertex_count;
    const std::int32_t* pair = lattice.neighbors +
                               (row - first) * lattice.vertex_stride +
                               axis * lattice.axis_stride;
    const std::int32_t before = pair[0];
    const std::int32_t after = pair[1];
    const std::int64_t offset =
        block * copies * lattice.vertex_count * kRowBlock;
    Row written = lane_at(in + offset, row, lane);
    if (before >= 0 || after >= 0) {
      Row zero;
      for (int c = 0; c < Row::kWidth; ++c) {
        store_value(scalar_t(0), zero.values[c]);
      }
      const Row left =
          before >= 0 ? lane_at(in + offset, first + before, lane) : zero;
      const Row right =
          after >= 0 ? lane_at(in + offset, first + after, lane) : zero;
      for (int c = 0; c < Row::kWidth; ++c) {
        store_value(blur_step<scalar_t>(load_value(written.values[c]),
                                        load_value(left.values[c]),
                                        load_value(right.values[c])),
                    written.values[c]);
      }
    }
    lane_at(out + offset, row, lane) = written;
  }
};

// values [points, channels] to blocks, padding with 0, and back. Item: a point.
template <typename scalar_t>
struct ToBlocksAt {
  const scalar_t* values;
  std::int64_t points;
  std::int64_t channels;
  scalar_t* blocks;

  DEEPLAB_HD void operator()(std::int64_t i, int block) const {
    scalar_t* to = blocks + (block * points + i) * kRowBlock;
    for (int c = 0; c < kRowBlock; ++c) {
      const std::int64_t channel = std::int64_t{block} * kRowBlock + c;
      to[c] = channel < channels ? values[i * channels + channel] : scalar_t(0);
    }
  }
};

// out [points, channels] = scale * slice of rows [blocks, V, 8]. Item: a point.
template <typename scalar_t>
struct SliceAt {
  BatchLattice<scalar_t> lattice;
  const scalar_t* rows;
  scalar_t scale;
  std::int64_t channels;
  scalar_t* out;

  DEEPLAB_HD void operator()(std::int64_t i, int block) const {
    using Row = Lane<scalar_t>;
    const scalar_t* from = rows + block * lattice.vertex_count * kRowBlock;
    scalar_t sum[kRowBlock];
    for (int c = 0; c < kRowBlock; ++c) sum[c] = 0;
    for (int q = 0; q < lattice.corners(); ++q) {
      const std::int64_t at =
          i * lattice.point_stride + q * lattice.corner_stride;
      const scalar_t weight = lattice.weights[at];
      for (int lane = 0; lane < Row::kPerRow; ++lane) {
        const Row read = lane_at(from, lattice.vertices[at], lane);
        for (int c = 0; c < Row::kWidth; ++c) {
          sum[lane * Row::kWidth + c] += weight * read.values[c];
        }
      }
    }
    for (int c = 0; c < kRowBlock; ++c) {
      const std::int64_t channel = std::int64_t{block} * kRowBlock + c;
      if (channel < channels) out[i * channels + channel] = scale * sum[c];
    }
  }
};

// The same step of several kernels in one launch, one after the other along the
// items.
template <typename F>
struct Parts {
  F parts[kMaxKernels];
  std::int64_t ends[kMaxKernels];
  int count = 0;

  void add(const F& part) {
    ends[count] = total() + part.work();
    parts[count++] = part;
  }
  std::int64_t total() const { return count > 0 ? ends[count - 1] : 0; }

  DEEPLAB_HD void operator()(std::int64_t k, int block) const {
    int m = 0;
    std::int64_t first = 0;
    while (k >= ends[m]) first = ends[m++];
    parts[m](k - first, block);
  }
};

}  // namespace deeplab
