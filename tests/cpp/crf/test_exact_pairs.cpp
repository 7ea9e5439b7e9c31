#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "csrc/core/crf/exact_pairs.h"

namespace deeplab {
namespace {

TEST(ExactPairs, KeepsExactlyThePairsThatReachTheThreshold) {
  const int d = 3;
  const std::int64_t points = 70 * kExactBlock - 5;
  const std::int64_t blocks = 70;
  std::mt19937 generator(3);
  std::uniform_real_distribution<double> draw(0, 12);
  std::vector<double> corners(blocks * 2 * d);
  for (std::int64_t b = 0; b < blocks; ++b) {
    for (int j = 0; j < d; ++j) {
      corners[(b * 2) * d + j] = draw(generator);
      corners[(b * 2 + 1) * d + j] = corners[(b * 2) * d + j] + 0.5;
    }
  }
  const ExactBoxes<double> boxes{corners.data(), points, d, 1e-4};
  ASSERT_EQ(boxes.blocks(), blocks);
  const std::int64_t words = pair_words(blocks);
  ASSERT_EQ(words, 3);
  std::vector<std::uint32_t> kept(blocks * words, 0xdeadbeef);
  const KeptPairsAt<double> keep{boxes, kept.data()};
  for (std::int64_t k = blocks * words - 1; k >= 0; --k) keep(k);
  std::vector<double> skipped(blocks);
  const SkippedWeightAt<double> skip{boxes, skipped.data()};
  for (std::int64_t b = 0; b < blocks; ++b) skip(b);

  std::int64_t count = 0;
  for (std::int64_t a = 0; a < blocks; ++a) {
    double left_out = 0;
    for (std::int64_t b = 0; b < blocks; ++b) {
      const bool is_kept = kept[a * words + b / 32] >> (b % 32) & 1;
      EXPECT_EQ(is_kept, boxes.most(a, b) >= 1e-4);
      EXPECT_EQ(is_kept, kept[b * words + a / 32] >> (a % 32) & 1);
      count += is_kept;
      if (!is_kept) {
        left_out +=
            boxes.most(a, b) * (b == 69 ? kExactBlock - 5 : kExactBlock);
      }
    }
    EXPECT_DOUBLE_EQ(skipped[a], left_out);
    EXPECT_EQ(kept[a * words + 2] & ~pairs_present(blocks, 2), 0u);
  }
  EXPECT_GT(count, blocks);
  EXPECT_LT(count, blocks * blocks / 2);
  EXPECT_EQ(pairs_present(blocks, 0), ~0u);
  EXPECT_EQ(pairs_present(blocks, 2), 0x3fu);
}

}  // namespace
}  // namespace deeplab
