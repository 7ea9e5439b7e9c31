#include <gtest/gtest.h>

#include <random>

#include "csrc/core/conv/interlace.h"
#include "csrc/core/conv/winograd.h"

namespace deeplab {
namespace {

template <typename F>
class WinogradTransform : public testing::Test {};

using Sizes = testing::Types<Winograd<2>, Winograd<4>>;
TYPED_TEST_SUITE(WinogradTransform, Sizes);

TYPED_TEST(WinogradTransform, IsATapSum) {
  constexpr int kInputs = TypeParam::kInputs;
  constexpr int kOutputs = TypeParam::kOutputs;
  std::mt19937 generator(3);
  std::uniform_real_distribution<double> draw(-1, 1);
  double input[kInputs];
  double weight[3];
  for (double& value : input) value = draw(generator);
  for (double& value : weight) value = draw(generator);
  double inputs[kInputs];
  double weights[kInputs];
  TypeParam::template input<double>(input, inputs);
  TypeParam::template weight<double>(weight, weights);
  double products[kInputs];
  for (int i = 0; i < kInputs; ++i) products[i] = inputs[i] * weights[i];
  double output[kOutputs];
  TypeParam::template output<double>(products, output);
  for (int i = 0; i < kOutputs; ++i) {
    const double expected = input[i] * weight[0] + input[i + 1] * weight[1] +
                            input[i + 2] * weight[2];
    EXPECT_NEAR(output[i], expected, 1e-14);
  }
}

// input, rate, padding, tile
using Interlace =
    std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>;

class InterlacedAxisTest : public testing::TestWithParam<Interlace> {};

TEST_P(InterlacedAxisTest, TilesCoverEveryOutputOnce) {
  const auto [input, rate, padding, tile] = GetParam();
  const InterlacedAxis interlaced = {
      make_window_axis(input, 3, 1, padding, rate), tile};
  const WindowAxis& axis = interlaced.axis;
  std::vector<int> covered(static_cast<std::size_t>(axis.output));
  for (std::int64_t i = 0; i < interlaced.tiles(); ++i) {
    const InterlacedAxis::Tile at = interlaced.at(i);
    ASSERT_LT(at.output, axis.output) << "an empty tile";
    for (std::int64_t k = 0; k < tile; ++k) {
      const std::int64_t output = at.output + k * rate;
      if (output >= axis.output) break;
      ++covered[static_cast<std::size_t>(output)];
      for (std::int64_t tap = 0; tap < 3; ++tap) {
        EXPECT_EQ(at.input + (k + tap) * rate, axis.position(output, tap));
      }
    }
  }
  for (const int count : covered) EXPECT_EQ(count, 1);
}

INSTANTIATE_TEST_SUITE_P(
    Axes, InterlacedAxisTest,
    testing::Values(Interlace{41, 6, 6, 4}, Interlace{41, 12, 12, 4},
                    Interlace{41, 1, 1, 2}, Interlace{7, 12, 12, 2},
                    Interlace{20, 3, 0, 4}, Interlace{9, 2, 7, 4}));

}  // namespace
}  // namespace deeplab
