// CPU launchers of the permutohedral lattice. Torch-free: raw pointers, threads
// through parallel_for.
#pragma once

#include <cstdint>
#include <vector>

#include "csrc/core/crf/lattice.h"
#include "csrc/cpu/crf/row_kernels.h"

namespace deeplab {

// Builds the lattice of features [N, d] and returns its vertex count; -1 when a
// feature is not finite or too far out. Vertices are numbered by first
// appearance (point, then q), whatever the number of threads. Rows of
// `neighbors` and `offsets` past the count are left alone.
template <typename scalar_t>
std::int64_t lattice_build_cpu(const scalar_t* features, std::int64_t points,
                               int d, const LatticeBuffers<scalar_t>& out);

// Maximal runs of vertices along each axis, so that a blur pass reads and
// writes every row once and in place. Vertices without a neighbour along an
// axis are left out: the pass does not change them.
struct BlurChains {
  // Per axis: vertex ids run after run; the last of a run is stored as ~id.
  std::vector<std::vector<std::int32_t>> axes;
};

template <typename scalar_t>
BlurChains blur_chains(const LatticeView<scalar_t>& lattice);

// The splat's reading list, each point's weights scaled by point_scale [N]
// unless null.
template <typename scalar_t>
class SplatEntries {
 public:
  SplatEntries(const LatticeView<scalar_t>& lattice,
               const scalar_t* point_scale);
  SplatList<scalar_t> list() const;

 private:
  const std::int32_t* offsets_;
  std::vector<std::int32_t> points_;
  std::vector<scalar_t> weights_;
};

// rows [V, width] = splat of values [N, width].
template <typename scalar_t>
void lattice_splat_cpu(const SplatList<scalar_t>& list,
                       std::int64_t vertex_count, const scalar_t* values,
                       std::int64_t width, scalar_t* rows);

// Blurs rows [V, width] in place along axes 0..d (d..0 when reverse).
template <typename scalar_t>
void lattice_blur_cpu(const BlurChains& chains, bool reverse,
                      std::int64_t width, scalar_t* rows);

// out [N, width] = splat, blur, slice of values [N, width].
template <typename scalar_t>
void lattice_filter_cpu(const LatticeView<scalar_t>& lattice,
                        const BlurChains& chains, const scalar_t* values,
                        std::int64_t width, bool reverse, scalar_t* out);

}  // namespace deeplab
