#include <gtest/gtest.h>

#include <cmath>

#include "csrc/core/crf/meanfield.h"

namespace deeplab {
namespace {

TEST(ExpNonpositive, StaysWithinThreeUlpOfTheLibrary) {
  for (float x = -79.9f; x <= 0.0f; x += 0.0137f) {
    const double exact = std::exp(static_cast<double>(x));
    EXPECT_NEAR(exp_nonpositive(x) / exact, 1.0, 3.6e-7) << x;
  }
  EXPECT_EQ(exp_nonpositive(0.0f), 1.0f);
}

TEST(ExpNonpositive, IsZeroFarBelow) {
  EXPECT_EQ(exp_nonpositive(-81.0f), 0.0f);
  EXPECT_EQ(exp_nonpositive(-INFINITY), 0.0f);
}

TEST(PairwiseEnergy, PottsDiagonalAndMatrixAgreeOnPotts) {
  const double filtered[3] = {0.2, 0.7, 0.1};
  const double diagonal[3] = {-1, -1, -1};
  const double matrix[9] = {-1, 0, 0, 0, -1, 0, 0, 0, -1};
  for (int l = 0; l < 3; ++l) {
    const double potts =
        pairwise_energy<double>(filtered, l, 3, Compatibility::kPotts, nullptr);
    EXPECT_EQ(potts, -filtered[l]);
    EXPECT_EQ(potts, pairwise_energy(filtered, l, 3, Compatibility::kDiagonal,
                                     diagonal));
    EXPECT_EQ(potts,
              pairwise_energy(filtered, l, 3, Compatibility::kMatrix, matrix));
  }
}

TEST(Normalization, SymmetricIsTheRootOnBothSides) {
  const double n = 0.81;
  EXPECT_NEAR(input_scale(n, Normalization::kSymmetric), 1 / 0.9, 1e-12);
  EXPECT_NEAR(output_scale(n, Normalization::kSymmetric), 1 / 0.9, 1e-12);
  EXPECT_NEAR(input_scale(n, Normalization::kBefore), 1 / n, 1e-12);
  EXPECT_EQ(output_scale(n, Normalization::kBefore), 1.0);
  EXPECT_EQ(input_scale(n, Normalization::kAfter), 1.0);
  EXPECT_EQ(input_scale(n, Normalization::kNo), 1.0);
  EXPECT_EQ(output_scale(n, Normalization::kNo), 1.0);
}

}  // namespace
}  // namespace deeplab
