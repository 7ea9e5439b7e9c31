#include <gtest/gtest.h>

#include "csrc/core/conv/window.h"

namespace deeplab {
namespace {

TEST(Window, OutputIsFloorOfCaffesFormula) {
  EXPECT_EQ(make_window_axis(321, 3, 1, 1, 1).output, 321);
  EXPECT_EQ(make_window_axis(41, 3, 1, 12, 12).output, 41);
  EXPECT_EQ(make_window_axis(10, 3, 2, 0, 1).output, 4);
  EXPECT_EQ(make_window_axis(5, 3, 4, 2, 3).output, 1);
}

TEST(Window, LargestValuesStayWithinInt64) {
  const WindowAxis axis =
      make_window_axis(kMaxWindowValue, 2, 1, kMaxWindowValue, kMaxWindowValue);
  EXPECT_EQ(axis.output, 2 * kMaxWindowValue);
  const WindowAxis wide = make_window_axis(1, kMaxWindowValue, 1, 0, 1);
  EXPECT_LT(wide.output, 1);
}

TEST(Window, OutputAtInvertsPosition) {
  for (const WindowAxis& axis :
       {make_window_axis(7, 3, 1, 2, 2), make_window_axis(9, 4, 3, 1, 2),
        make_window_axis(2, 3, 2, 9, 8), make_window_axis(11, 1, 5, 0, 1)}) {
    for (std::int64_t tap = 0; tap < axis.kernel; ++tap) {
      for (std::int64_t position = 0; position < axis.input; ++position) {
        std::int64_t expected = -1;
        for (std::int64_t out = 0; out < axis.output; ++out) {
          if (axis.position(out, tap) == position) expected = out;
        }
        EXPECT_EQ(axis.output_at(position, tap), expected);
      }
    }
  }
}

TEST(Window, InsideRangeHoldsExactlyTheOutputsThatMeetTheInput) {
  for (std::int64_t input : {1, 2, 5, 8}) {
    for (std::int64_t kernel : {1, 2, 3}) {
      for (std::int64_t stride : {1, 2, 5}) {
        for (std::int64_t padding : {0, 1, 4, 13}) {
          for (std::int64_t dilation : {1, 3, 12}) {
            const WindowAxis axis =
                make_window_axis(input, kernel, stride, padding, dilation);
            if (window_extent(kernel, dilation) > input + 2 * padding) continue;
            for (std::int64_t tap = 0; tap < kernel; ++tap) {
              const std::int64_t first = axis.first_inside(tap);
              const std::int64_t end = axis.end_inside(tap);
              EXPECT_LE(first, end);
              for (std::int64_t out = 0; out < axis.output; ++out) {
                EXPECT_EQ(axis.inside(axis.position(out, tap)),
                          first <= out && out < end);
              }
            }
          }
        }
      }
    }
  }
}

TEST(Window, OnlyAOneByOneWindowWithoutStrideOrPaddingIsPointwise) {
  const WindowAxis plain = make_window_axis(5, 1, 1, 0, 3);
  EXPECT_TRUE((Window2d{plain, plain}.is_pointwise()));
  EXPECT_FALSE(
      (Window2d{plain, make_window_axis(5, 1, 2, 0, 1)}.is_pointwise()));
  EXPECT_FALSE(
      (Window2d{plain, make_window_axis(5, 1, 1, 1, 1)}.is_pointwise()));
}

}  // namespace
}  // namespace deeplab
