// Inner loops over rows of `width` channels, compiled once per instruction set
// and chosen at run time. All arithmetic comes from core/.
#pragma once

#include <cstdint>

#include "csrc/core/crf/exact.h"
#include "csrc/core/crf/lattice.h"
#include "csrc/core/crf/lattice_key.h"
#include "csrc/core/crf/meanfield.h"
#include "csrc/cpu/crf/lattice_chunks.h"

namespace deeplab {

// What the update of a chunk's points needs of one kernel (ChunkedLattice);
// `rows`, `weights` and the scales cover all points, `from` and `to` start at
// the chunk's first row.
template <typename scalar_t>
struct ChunkKernel {
  int corners;
  const std::int32_t* rows;       // [P, corners]
  const scalar_t* weights;        // [P, corners]
  const scalar_t* from;           // [rows, width] blurred
  scalar_t* to;                   // [rows, width] to be filled
  const std::int32_t* tile_rows;  // [tiles]
  const scalar_t* input_scale;    // [P] or null
  const scalar_t* output_scale;   // [P] or null; holds slice scale and weight
  scalar_t constant_scale;        // used where output_scale is null
};

template <typename scalar_t>
struct UpdateArguments {
  const ChunkKernel<scalar_t>* kernels;
  int kernel_count;
  bool gathers;             // adds the kernels' messages
  bool scatters;            // fills the kernels' rows
  const scalar_t* message;  // [P, width], where nothing is gathered, or null
  // [whole tiles of points, width]; infinite in channels past the labels
  const scalar_t* unary;
  std::int64_t labels;
  std::int64_t width;
  Compatibility kind;
  const scalar_t* compatibility;
  scalar_t* marginals;  // [P, width] or null; may be unary
};

// A lattice's entries grouped by vertex, weights (and any factor of the points)
// alongside: what the splat reads in order.
template <typename scalar_t>
struct SplatList {
  const std::int32_t* offsets;  // [V + 1]
  const std::int32_t* points;   // [N (d + 1)]
  const scalar_t* weights;      // [N (d + 1)]
};

// Points in blocks of kExactBlock with their bounding boxes.
template <typename scalar_t>
struct ExactBlocks {
  std::int64_t points;
  int features;
  const scalar_t* by_feature;  // [d, P]
  const scalar_t* boxes;       // [blocks, 2, d]
  scalar_t skip_below;         // 0: nothing is skipped
};

// Points that `embed` takes together.
constexpr std::int64_t kEmbedBlock = 64;

// Each function works on [begin, end) of its outer loop.
template <typename scalar_t>
struct RowKernels {
  // Points: weights [N, d + 1] of each simplex and its vertices' keys, packed
  // [N, d + 1] or, without a packing, int32 [N, d + 1, d]. False when a feature
  // is out of range.
  bool (*embed)(const scalar_t* features, int d, const KeyPacking* packing,
                std::uint64_t* codes, std::int32_t* keys, scalar_t* weights,
                std::int64_t begin, std::int64_t end);
  // Vertices: rows = sum over the vertex's entries of weight * value.
  void (*splat)(const SplatList<scalar_t>& list, const scalar_t* values,
                std::int64_t width, scalar_t* rows, std::int64_t begin,
                std::int64_t end);
  // Positions of a chain list; a run belongs to the range it starts in.
  void (*blur)(const std::int32_t* chain, std::int64_t length,
               std::int64_t width, scalar_t* rows, std::int64_t begin,
               std::int64_t end);
  // Points: out = scale * sum over the simplex of weight * row.
  void (*slice)(const LatticeView<scalar_t>& lattice, const scalar_t* rows,
                scalar_t scale, std::int64_t width, scalar_t* out,
                std::int64_t begin, std::int64_t end);
  // Positions of a list of runs: adds the rows of a run to its first, and
  // copies the first to the others.
  void (*combine)(const std::int32_t* runs, std::int64_t length,
                  std::int64_t width, scalar_t* rows, std::int64_t begin,
                  std::int64_t end);
  void (*spread)(const std::int32_t* runs, std::int64_t length,
                 std::int64_t width, scalar_t* rows, std::int64_t begin,
                 std::int64_t end);
  // Points of one chunk, from its first where rows are filled, else from the
  // first of a tile: messages,
  // compatibility, softmax and splat at once; scratch holds 2 * kPointTile *
  // width values.
  void (*update)(const UpdateArguments<scalar_t>& arguments, scalar_t* scratch,
                 std::int64_t begin, std::int64_t end);
  // Matrices [rows, columns] of whole vectors, one after the other: transposes
  // each in place; scratch holds one.
  void (*transpose)(std::int64_t rows, std::int64_t columns, scalar_t* scratch,
                    scalar_t* values, std::int64_t begin, std::int64_t end);
  // Blocks of points: out = sum over all points of Gaussian weight * value;
  // skipped [P], unless null, takes the most that the left-out weights add up
  // to.
  void (*exact)(const ExactBlocks<scalar_t>& blocks, const scalar_t* values,
                std::int64_t width, scalar_t* out, scalar_t* skipped,
                std::int64_t begin, std::int64_t end);
};

// The best set this processor runs. DEEPLAB_CPU_CAPABILITY=plain|avx2|avx512
// in the environment lowers the choice.
template <typename scalar_t>
const RowKernels<scalar_t>& row_kernels();

// Name of the chosen set.
const char* row_kernels_name();

}  // namespace deeplab
