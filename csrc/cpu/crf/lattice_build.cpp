#include <algorithm>
#include <vector>

#include "csrc/cpu/crf/lattice.h"
#include "csrc/cpu/crf/lattice_chunks.h"
#include "csrc/cpu/crf/stages.h"
#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

constexpr std::int64_t kVertexGrain = 1024;

// Turns rows of chunks into vertices.
void number_vertices(const ChunkedLattice& lattice, int corners,
                     std::int32_t* vertices) {
  const PointChunks& chunks = lattice.chunks;
  parallel_tasks(chunks.count, [&](TaskQueue& queue) {
    for (std::int64_t chunk; queue.take(&chunk);) {
      const std::int32_t* vertex_of_row =
          lattice.vertex_of_row.get() + lattice.first_row[chunk];
      for (std::int64_t e = chunks.begin(chunk) * corners;
           e < chunks.end(chunk) * corners; ++e) {
        vertices[e] = vertex_of_row[vertices[e]];
      }
    }
  });
}

// Fills neighbors [V, d + 1, 2]: the neighbour before a vertex is the one whose
// neighbour after it is the vertex.
void link_neighbors(const ChunkedLattice& lattice, int d,
                    std::int32_t* neighbors) {
  const std::int64_t count = lattice.vertex_count();
  const std::int64_t row = 2 * (d + 1);
  std::fill(neighbors, neighbors + count * row, -1);
  parallel_for(
      0, count, kVertexGrain, [&](std::int64_t begin, std::int64_t end) {
        for (int axis = 0; axis <= d; ++axis) {
          for (std::int64_t v = begin; v < end; ++v) {
            const std::int32_t after = lattice.after[axis * count + v];
            if (after < 0) continue;
            neighbors[v * row + 2 * axis + 1] = after;
            neighbors[after * row + 2 * axis] = static_cast<std::int32_t>(v);
          }
        }
      });
}

// Groups the entries by vertex, ascending within each: a counting sort.
void group_entries(const std::int32_t* vertices, std::int64_t entry_count,
                   std::int64_t vertex_count, std::int32_t* entries,
                   std::int32_t* offsets) {
  std::fill(offsets, offsets + vertex_count + 1, 0);
  for (std::int64_t e = 0; e < entry_count; ++e) ++offsets[vertices[e] + 1];
  for (std::int64_t v = 0; v < vertex_count; ++v) offsets[v + 1] += offsets[v];
  std::vector<std::int32_t> next(offsets, offsets + vertex_count);
  for (std::int64_t e = 0; e < entry_count; ++e) {
    entries[next[vertices[e]]++] = static_cast<std::int32_t>(e);
  }
}

}  // namespace

template <typename scalar_t>
std::int64_t lattice_build_cpu(const scalar_t* features, std::int64_t points,
                               int d, const LatticeBuffers<scalar_t>& out) {
  const Stage stage("build");
  ChunkedLattice lattice(points);
  if (!build_chunks(features, d, out.vertices, out.weights, lattice)) return -1;
  number_vertices(lattice, d + 1, out.vertices);
  link_neighbors(lattice, d, out.neighbors);
  group_entries(out.vertices, points * (d + 1), lattice.vertex_count(),
                out.entries, out.offsets);
  return lattice.vertex_count();
}

template std::int64_t lattice_build_cpu(const float*, std::int64_t, int,
                                        const LatticeBuffers<float>&);
template std::int64_t lattice_build_cpu(const double*, std::int64_t, int,
                                        const LatticeBuffers<double>&);

}  // namespace deeplab
