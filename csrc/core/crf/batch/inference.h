// The order of the steps of mean-field inference over the lattices of a batch;
// Executor as in batch/sequence.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "csrc/core/crf/batch/meanfield.h"
#include "csrc/core/crf/batch/sequence.h"

namespace deeplab {

// A batch's problem: unary [images, labels, image_points]; compatibility null,
// [L] or [L, L]. The lattices' splat weights are scaled in place.
template <typename scalar_t>
struct BatchProblem {
  const scalar_t* unary;
  std::int64_t images;
  std::int64_t labels;
  std::int64_t image_points;
  int kernel_count;
  BatchLattice<scalar_t> lattices[kMaxKernels];
  const scalar_t* image_weights;  // [kernels, images]
  Compatibility kind;
  const scalar_t* compatibility;
  Normalization normalization;
  int iterations;

  std::int64_t points() const { return images * image_points; }
  int blocks() const {
    return static_cast<int>((labels + kRowBlock - 1) / kRowBlock);
  }
  // A table over one image's points serves all of them.
  bool shared(int m) const {
    return images > 1 && lattices[m].points == image_points;
  }
  std::int64_t copies(int m) const { return shared(m) ? images : 1; }
};

// Blocks of labels that are filtered at once: as many as leave the rows of all
// kernels, twice, in `cache_bytes` of cache.
inline int blocks_in_cache(std::int64_t bytes_per_block,
                           std::int64_t cache_bytes, int blocks) {
  const std::int64_t fitting =
      bytes_per_block > 0 ? cache_bytes / bytes_per_block : blocks;
  return static_cast<int>(
      std::max<std::int64_t>(1, std::min<std::int64_t>(fitting, blocks)));
}

template <typename scalar_t, typename storage_t>
class BatchInference {
  static constexpr bool kNarrow = !std::is_same_v<scalar_t, storage_t>;
  // Labels beyond this go through memory.
  static constexpr int kMostHeld = 4;

 public:
  // Lays its arrays out in `arena`. `cache_bytes`: of the second-level cache.
  BatchInference(const BatchProblem<scalar_t>& problem,
                 std::int64_t cache_bytes, Arena& arena)
      : problem_(problem) {
    const std::int64_t points = problem.points();
    const int blocks = problem.blocks();
    std::int64_t bytes_per_block = 0;
    for (int m = 0; m < problem.kernel_count; ++m) {
      bytes_per_block += 2 * row_elements(m) * sizeof(storage_t);
    }
    blocks_at_once_ = blocks_in_cache(bytes_per_block, cache_bytes, blocks);
    marginals_ = arena.take<storage_t>(blocks * points * kRowBlock);
    if (!in_registers()) {
      logits_ = arena.take<scalar_t>(blocks * points * kRowBlock);
    }
    if (problem.kind == Compatibility::kMatrix) {
      messages_ = arena.take<scalar_t>(blocks * points * kRowBlock);
    }
    std::int64_t most_points = 0;
    for (int m = 0; m < problem.kernel_count; ++m) {
      const BatchLattice<scalar_t>& lattice = problem.lattices[m];
      output_[m] = arena.take<scalar_t>(lattice.points);
      // The filtered ones, one block of scalar_t, lie in the same memory.
      rows_[m] = {lattice, problem.copies(m), take_rows(arena, m, blocks),
                  take_rows(arena, m, blocks_at_once_),
                  arena.take<scalar_t>(blocks_at_once_ * problem.copies(m) *
                                       lattice.piece_bound() * kRowBlock)};
      most_points = std::max(most_points, lattice.points);
    }
    input_ = arena.take<scalar_t>(most_points);
    range_ = arena.take<std::int32_t>(problem.images);
  }

  // What comes before the iterations: factors of the points, softmax(-U).
  template <typename Executor>
  void start(Executor& run) const {
    for (int m = 0; m < problem_.kernel_count; ++m) normalize(run, m);
    update(run, 0);
  }

  // One iteration; every one is the same work on the same memory.
  template <typename Executor>
  void iterate(Executor& run) const {
    if (problem_.kernel_count == 0) return;
    const std::int64_t block_size = problem_.points() * kRowBlock;
    for (int first = 0; first < problem_.blocks(); first += blocks_at_once_) {
      const int count = std::min(blocks_at_once_, problem_.blocks() - first);
      FilterRows<scalar_t, storage_t> rows[kMaxKernels];
      for (int m = 0; m < problem_.kernel_count; ++m) {
        rows[m] = rows_[m];
        rows[m].rows += first * row_elements(m);
      }
      splat_and_blur(
          run, rows, problem_.kernel_count,
          static_cast<const storage_t*>(marginals_ + first * block_size), count,
          false);
    }
    update(run, problem_.kernel_count);
  }

  // Writes the marginals [images, labels, image_points].
  template <typename Executor>
  void finish(Executor& run, scalar_t* out) const {
    run.for_each(problem_.points(), problem_.blocks(),
                 FromBlocksAt<scalar_t, storage_t>{
                     marginals_, problem_.image_points, problem_.points(),
                     problem_.labels, out});
  }

 private:
  bool in_registers() const {
    return problem_.blocks() <= kMostHeld &&
           problem_.kind != Compatibility::kMatrix;
  }

  // Of one block of labels.
  std::int64_t row_elements(int m) const {
    return problem_.copies(m) * problem_.lattices[m].vertex_count * kRowBlock;
  }

  storage_t* take_rows(Arena& arena, int m, int blocks) const {
    const std::int64_t own = blocks * row_elements(m);
    const std::int64_t ones =
        problem_.lattices[m].vertex_count * kRowBlock *
        static_cast<std::int64_t>(sizeof(scalar_t) / sizeof(storage_t));
    return arena.take<storage_t>(std::max(own, ones));
  }

  // Filters ones over one table; the result lies in the returned rows [V, 8].
  template <typename Executor>
  const scalar_t* filter_ones(Executor& run, int m) const {
    const FilterRows<scalar_t, scalar_t> ones{
        problem_.lattices[m], 1, reinterpret_cast<scalar_t*>(rows_[m].rows),
        reinterpret_cast<scalar_t*>(rows_[m].spare), rows_[m].partial};
    splat_and_blur(run, &ones, 1, static_cast<const scalar_t*>(nullptr), 1,
                   false);
    return ones.rows;
  }

  template <typename Executor>
  void normalize(Executor& run, int m) const {
    const BatchLattice<scalar_t>& lattice = problem_.lattices[m];
    const Normalization mode = problem_.normalization;
    const scalar_t* filtered =
        mode == Normalization::kNo ? nullptr : filter_ones(run, m);
    run.for_each(lattice.points, FactorsAt<scalar_t>{lattice, filtered, mode,
                                                     input_, output_[m]});
    if (mode == Normalization::kBefore || mode == Normalization::kSymmetric) {
      run.for_each(lattice.entries(), ScaleSplatAt<scalar_t>{lattice, input_});
    }
    if constexpr (kNarrow) {
      const std::int64_t image_points = problem_.image_points;
      const scalar_t* most = filter_ones(run, m);
      run.fill(range_, 0, problem_.images * sizeof(*range_));
      run.for_each(lattice.points,
                   RangeAt<scalar_t>{lattice, most, image_points, range_});
      run.for_each(lattice.entries(),
                   RangeSplatAt<scalar_t>{lattice, image_points, range_});
      run.for_each(lattice.points,
                   RangeOutputAt<scalar_t>{image_points, range_, output_[m]});
    }
  }

  template <int kHeld, typename Executor>
  void update_with(Executor& run, int kernel_count) const {
    UpdateAt<scalar_t, storage_t, kHeld> update{};
    update.unary = problem_.unary;
    update.image_points = problem_.image_points;
    update.points = problem_.points();
    update.labels = static_cast<int>(problem_.labels);
    update.blocks = problem_.blocks();
    update.kernel_count = kernel_count;
    for (int m = 0; m < kernel_count; ++m) {
      const BatchLattice<scalar_t>& lattice = problem_.lattices[m];
      update.kernels[m] = {lattice.vertices,
                           lattice.weights,
                           lattice.point_stride,
                           lattice.corner_stride,
                           lattice.corners(),
                           problem_.shared(m),
                           problem_.copies(m) * lattice.vertex_count,
                           lattice.vertex_count,
                           rows_[m].rows,
                           output_[m],
                           problem_.image_weights + m * problem_.images};
    }
    update.kind = problem_.kind;
    update.compatibility = problem_.compatibility;
    update.marginals = marginals_;
    update.messages = messages_;
    update.logits = logits_;
    run.for_each(problem_.points(), update);
  }

  template <typename Executor>
  void update(Executor& run, int kernel_count) const {
    if (!in_registers()) return update_with<0>(run, kernel_count);
    switch (problem_.blocks()) {
      case 1:
        return update_with<1>(run, kernel_count);
      case 2:
        return update_with<2>(run, kernel_count);
      case 3:
        return update_with<3>(run, kernel_count);
      default:
        return update_with<kMostHeld>(run, kernel_count);
    }
  }

  BatchProblem<scalar_t> problem_;
  int blocks_at_once_;
  storage_t* marginals_;          // [blocks, points, 8]
  scalar_t* logits_ = nullptr;    // likewise
  scalar_t* messages_ = nullptr;  // likewise
  scalar_t* output_[kMaxKernels];
  FilterRows<scalar_t, storage_t> rows_[kMaxKernels];
  scalar_t* input_;
  std::int32_t* range_;
};

}  // namespace deeplab
