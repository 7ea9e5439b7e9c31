// CPU launcher of mean-field inference.
#pragma once

#include <vector>

#include "csrc/core/crf/meanfield.h"
#include "csrc/cpu/buffer.h"
#include "csrc/cpu/crf/lattice_chunks.h"
#include "csrc/cpu/crf/point_order.h"

namespace deeplab {

// A kernel's lattice as the mean field reads it, over points in another order.
template <typename scalar_t>
struct MeanfieldLattice {
  int features;
  ChunkedLattice lattice;
  Buffer<std::int32_t> rows;  // [P, d + 1], from the chunk's first
  Buffer<scalar_t> weights;   // [P, d + 1]
  RowRuns shared;
  std::vector<RowRuns> axes;  // blur runs of each axis
};

// What is built of an image's features; serves any number of mean fields.
template <typename scalar_t>
struct MeanfieldPlan {
  Buffer<std::int32_t> order;  // [P]: the point that comes at each place
  std::vector<MeanfieldLattice<scalar_t>> kernels;
};

// Builds the lattices of the kernels' features, each [P, d]. False when a
// feature is not finite or too far out.
template <typename scalar_t>
bool meanfield_plan(const std::vector<KernelFeatures<scalar_t>>& kernels,
                    std::int64_t points, MeanfieldPlan<scalar_t>& plan);

// Writes the marginals [L, P]. The problem's kernels are the plan's.
template <typename scalar_t>
void meanfield_cpu(const MeanfieldProblem<scalar_t>& problem,
                   const MeanfieldPlan<scalar_t>& plan, scalar_t* out);

}  // namespace deeplab
