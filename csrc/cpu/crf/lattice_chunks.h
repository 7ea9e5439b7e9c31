// The lattice as the CPU builds and filters it: points in a fixed number of
// chunks, each with rows of its own for the vertices that its points touch.
//
// A chunk belongs to one thread at a time, so that splatting needs no atomics
// and its sums do not depend on the number of threads. A vertex that several
// chunks touch lives in its first chunk's row; the others' rows are added to it
// before the blur and hold copies of it after.
#pragma once

#include <cstdint>
#include <vector>

#include "csrc/cpu/buffer.h"

namespace deeplab {

// Points handled together in the innermost loops; chunks are multiples of it.
constexpr std::int64_t kPointTile = 16;
inline std::int64_t tile_count(std::int64_t points) {
  return (points + kPointTile - 1) / kPointTile;
}

// Rows in runs: the last of a run is stored as ~row.
using RowRuns = std::vector<std::int32_t>;

// How points are cut into chunks: by their number alone.
struct PointChunks {
  std::int64_t points;
  std::int64_t chunk_points;
  std::int64_t count;

  explicit PointChunks(std::int64_t points);
  std::int64_t begin(std::int64_t chunk) const { return chunk * chunk_points; }
  std::int64_t end(std::int64_t chunk) const {
    const std::int64_t last = (chunk + 1) * chunk_points;
    return last < points ? last : points;
  }
};

// Vertices are numbered by first appearance (point, then q).
struct ChunkedLattice {
  explicit ChunkedLattice(std::int64_t points) : chunks(points) {}

  PointChunks chunks;
  std::vector<std::int64_t> first_row;      // [chunks + 1]
  std::vector<std::int32_t> tile_rows;      // [tiles]: its chunk's rows so far
  std::vector<std::int32_t> row_of_vertex;  // [V]
  Buffer<std::int32_t> vertex_of_row;       // [R]
  // The neighbour after each vertex along each axis: [d + 1, V], -1 for none.
  Buffer<std::int32_t> after;

  std::int64_t row_count() const { return first_row.back(); }
  std::int64_t vertex_count() const {
    return static_cast<std::int64_t>(row_of_vertex.size());
  }
};

// Builds the lattice of features [N, d]; writes each point's rows, counted from
// its chunk's first, and barycentric weights, both [N, d + 1]. False when a
// feature is not finite or too far out.
template <typename scalar_t>
bool build_chunks(const scalar_t* features, int d, std::int32_t* rows,
                  scalar_t* weights, ChunkedLattice& out);

// Maximal runs of vertices along `axis`, as rows, so that a blur pass reads and
// writes every row once and in place. Vertices without a neighbour along the
// axis are left out: the pass does not change them.
RowRuns blur_runs(const ChunkedLattice& lattice, int axis);

// Rows of the vertices that have several, the vertex's own first, then in the
// order of the chunks.
RowRuns shared_runs(const ChunkedLattice& lattice);

}  // namespace deeplab
