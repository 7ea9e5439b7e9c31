// Which pairs of point blocks the exact mean field keeps: decided once, read in
// every iteration. Functors as in batch/build.h.
#pragma once

#include <cstdint>

#include "csrc/core/crf/exact.h"
#include "csrc/core/macros.h"

namespace deeplab {

// Bounding boxes [blocks, 2, d] of blocks of kExactBlock points.
template <typename scalar_t>
struct ExactBoxes {
  const scalar_t* boxes;
  std::int64_t points;
  int d;
  scalar_t skip_below;

  DEEPLAB_HD std::int64_t blocks() const {
    return (points + kExactBlock - 1) / kExactBlock;
  }
  // The most that a weight between two blocks can be.
  DEEPLAB_HD scalar_t most(std::int64_t a, std::int64_t b) const {
    return gaussian_weight(
        box_distance(boxes + a * 2 * d, boxes + b * 2 * d, d));
  }
};

// 32-bit words in a block's row of the table of pairs.
DEEPLAB_HD std::int64_t pair_words(std::int64_t blocks) {
  return (blocks + 31) / 32;
}

// The pairs there are in a word of any row.
DEEPLAB_HD std::uint32_t pairs_present(std::int64_t blocks, std::int64_t word) {
  const std::int64_t left = blocks - word * 32;
  return left >= 32 ? ~std::uint32_t{0} : (std::uint32_t{1} << left) - 1;
}

// Item: block * words + word.
template <typename scalar_t>
struct KeptPairsAt {
  ExactBoxes<scalar_t> boxes;
  std::uint32_t* kept;  // [blocks, words]

  DEEPLAB_HD void operator()(std::int64_t k) const {
    const std::int64_t blocks = boxes.blocks();
    const std::int64_t words = pair_words(blocks);
    const std::int64_t block = k / words;
    const std::int64_t first = (k - block * words) * 32;
    std::uint32_t bits = 0;
    for (int bit = 0; bit < 32 && first + bit < blocks; ++bit) {
      // Written so that a weight that is no number is kept and shows.
      if (!(boxes.most(block, first + bit) < boxes.skip_below)) {
        bits |= std::uint32_t{1} << bit;
      }
    }
    kept[k] = bits;
  }
};

// The most that the left-out weights of a point of a block add up to. Item: a
// block.
template <typename scalar_t>
struct SkippedWeightAt {
  ExactBoxes<scalar_t> boxes;
  scalar_t* skipped;  // [blocks]

  DEEPLAB_HD void operator()(std::int64_t block) const {
    const std::int64_t blocks = boxes.blocks();
    scalar_t sum = 0;
    for (std::int64_t other = 0; other < blocks; ++other) {
      const scalar_t most = boxes.most(block, other);
      if (!(most < boxes.skip_below)) continue;
      const std::int64_t left = boxes.points - other * kExactBlock;
      sum += most * scalar_t(left < kExactBlock ? left : kExactBlock);
    }
    skipped[block] = sum;
  }
};

}  // namespace deeplab
