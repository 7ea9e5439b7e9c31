// Half-precision storage of lattice values.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "csrc/core/crf/batch/meanfield.h"
#include "csrc/core/half.h"

namespace deeplab {
namespace {

TEST(Half, RoundsToNearestEvenAndBack) {
  EXPECT_EQ(float_to_half(1.0f).bits, 0x3c00);
  EXPECT_EQ(float_to_half(-2.0f).bits, 0xc000);
  EXPECT_EQ(float_to_half(65504.0f).bits, 0x7bff);
  EXPECT_EQ(float_to_half(65519.0f).bits, 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f).bits, 0x7c00);
  EXPECT_EQ(float_to_half(1.0f + 0x1p-11f).bits, 0x3c00);  // tie to even
  EXPECT_EQ(float_to_half(1.0f + 3 * 0x1p-11f).bits, 0x3c02);
  EXPECT_EQ(float_to_half(0x1p-24f).bits, 0x0001);
  EXPECT_EQ(float_to_half(0x1p-25f).bits, 0x0000);
  EXPECT_EQ(float_to_half(0x1p-14f).bits, 0x0400);
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::infinity()).bits, 0x7c00);
  for (std::uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const Half half{static_cast<std::uint16_t>(bits)};
    ASSERT_EQ(float_to_half(half_to_float(half)).bits, bits);
    ASSERT_EQ(half_to_float({static_cast<std::uint16_t>(bits | 0x8000)}),
              -half_to_float(half));
  }
}

TEST(Half, RangeScaleIsAPowerOfTwoThatKeepsTheLargestFinite) {
  for (float most : {1e-20f, 1e-3f, 1.0f, 65504.0f, 3e5f, 1e30f}) {
    const float scale = half_range_scale(most);
    int exponent;
    EXPECT_EQ(std::frexp(scale, &exponent), 0.5f);
    EXPECT_LE(most * scale, kHalfMax / 2);
    EXPECT_GT(most * scale, kHalfMax / 4);
  }
  EXPECT_EQ(half_range_scale(0.0f), 1.0f);
}

}  // namespace
}  // namespace deeplab
