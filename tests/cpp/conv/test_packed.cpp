#include <gtest/gtest.h>

#include <vector>

#include "csrc/core/conv/plan.h"
#include "csrc/cpu/conv/im2col.h"
#include "csrc/cpu/conv/kernels_table.h"
#include "csrc/cpu/conv/pack.h"
#include "csrc/cpu/conv/packed.h"
#include "tests/cpp/conv/helpers.h"

namespace deeplab {
namespace {

// [N, C, places] -> [N, places, C], or back.
Values channels_last(const Values& values, std::int64_t batch,
                     std::int64_t channels, bool back = false) {
  Values result(values.size());
  const auto places = static_cast<std::int64_t>(values.size()) / batch /
                      std::max<std::int64_t>(channels, 1);
  for (std::int64_t n = 0; n < batch; ++n) {
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t p = 0; p < places; ++p) {
        const auto first =
            static_cast<std::size_t>((n * channels + c) * places + p);
        const auto last =
            static_cast<std::size_t>((n * places + p) * channels + c);
        if (back) {
          result[first] = values[last];
        } else {
          result[last] = values[first];
        }
      }
    }
  }
  return result;
}

Conv2dShape shape_of(std::int64_t batch, std::int64_t channels,
                     std::int64_t filters, std::int64_t groups, WindowAxis h,
                     WindowAxis w) {
  return {batch, channels, filters, groups, {h, w}};
}

// Filters beyond one block, groups, rates beyond the map, padding beyond the
// taps' reach.
const Conv2dShape kShapes[] = {
    shape_of(2, 5, 130, 1, make_window_axis(9, 3, 1, 4, 4),
             make_window_axis(13, 3, 1, 2, 3)),
    shape_of(1, 8, 6, 2, make_window_axis(7, 3, 1, 12, 12),
             make_window_axis(5, 3, 1, 9, 2)),
    shape_of(1, 40, 70, 1, make_window_axis(17, 3, 1, 1, 1),
             make_window_axis(19, 3, 1, 1, 1)),
};

class PackedConvTest : public testing::TestWithParam<Conv2dShape> {
 protected:
  Conv2dShape shape = GetParam();
  std::int64_t channels = shape.channels / shape.groups;
  std::int64_t filters = shape.group_filters();
  Values input = random_values(shape.batch * shape.input_size(), 1);
  Values weight = random_values(shape.filters * shape.group_rows(), 2);
  Values bias = random_values(shape.filters, 3);
  WeightView<double> view = {weight.data(),
                             shape.groups,
                             filters,
                             channels,
                             3,
                             3,
                             {filters * channels * 9, channels * 9, 9, 3, 1}};
};

TEST_P(PackedConvTest, EveryPathAgreesWithIm2col) {
  Values expected(static_cast<std::size_t>(shape.batch * shape.output_size()));
  atrous_conv2d_cpu<double>(shape, input.data(), weight.data(), bias.data(),
                            expected.data(), multiply_plainly);
  const Values last = channels_last(input, shape.batch, shape.channels);
  for (const ConvPath path :
       {ConvPath::kDirect, ConvPath::kWinograd2, ConvPath::kWinograd4}) {
    Values packed(static_cast<std::size_t>(packed_positions(path, 9) *
                                           shape.filters * channels));
    pack_weight(path, view, packed.data());
    Values output(expected.size());
    const PackedConv<double> conv = {shape,
                                     last.data(),
                                     packed.data(),
                                     bias.data(),
                                     false,
                                     output.data(),
                                     conv_kernels<double>().multiply};
    if (path == ConvPath::kDirect) {
      conv_direct_cpu(conv);
    } else {
      conv_winograd_cpu(conv, winograd_tile(path));
    }
    const Values result =
        channels_last(output, shape.batch, shape.filters, true);
    for (std::size_t i = 0; i < result.size(); ++i) {
      ASSERT_NEAR(result[i], expected[i], 1e-11);
    }
  }
}

TEST_P(PackedConvTest, WeightGradientAgreesWithIm2col) {
  const Values grad = random_values(shape.batch * shape.output_size(), 4);
  Values expected(weight.size());
  atrous_conv2d_backward_cpu<double>(shape, grad.data(), input.data(),
                                     weight.data(), nullptr, expected.data(),
                                     nullptr, multiply_plainly);
  const Values last = channels_last(grad, shape.batch, shape.filters);
  const std::int64_t width = shape.window.w.input;
  const std::int64_t size = shape.window.input_size();
  Values result(weight.size());
  conv_weight_gradient_cpu<double>({shape,
                                    input.data(),
                                    {shape.input_size(), size, width, 1},
                                    last.data(),
                                    view,
                                    result.data(),
                                    conv_kernels<double>().multiply});
  for (std::size_t i = 0; i < result.size(); ++i) {
    ASSERT_NEAR(result[i], expected[i], 1e-11);
  }
}

TEST_P(PackedConvTest, UnpackingUndoesPacking) {
  Values packed(weight.size());
  Values unpacked(weight.size());
  pack_weight(ConvPath::kDirect, view, packed.data());
  unpack_weight(view, packed.data(), unpacked.data());
  EXPECT_EQ(unpacked, weight);
}

INSTANTIATE_TEST_SUITE_P(Shapes, PackedConvTest, testing::ValuesIn(kShapes));

TEST(ConvKernels, InstructionSetsAgree) {
  constexpr std::int64_t kRows = 15;
  constexpr std::int64_t kColumns = 71;
  constexpr std::int64_t kDepth = 37;
  const Values a = random_values(kRows * kDepth, 5);
  const Values b = random_values(kDepth * kColumns, 6);
  std::vector<ConvKernels<double>> tables = {conv_kernels_plain<double>()};
#if DEEPLAB_X86_VARIANTS
  if (capability() != Capability::kPlain) {
    tables.push_back(conv_kernels_avx2<double>());
  }
  if (capability() == Capability::kAvx512) {
    tables.push_back(conv_kernels_avx512<double>());
  }
#endif
  for (const auto& table : tables) {
    for (const bool accumulate : {false, true}) {
      Values c(kRows * kColumns, 1.0);
      table.multiply({a.data(), kDepth, b.data(), kColumns, c.data(), kColumns,
                      kRows, kColumns, kDepth, accumulate});
      for (std::int64_t i = 0; i < kRows; ++i) {
        for (std::int64_t j = 0; j < kColumns; ++j) {
          double sum = accumulate ? 1 : 0;
          for (std::int64_t l = 0; l < kDepth; ++l) {
            sum += a[static_cast<std::size_t>(i * kDepth + l)] *
                   b[static_cast<std::size_t>(l * kColumns + j)];
          }
          ASSERT_NEAR(c[static_cast<std::size_t>(i * kColumns + j)], sum,
                      1e-12);
        }
      }
    }
  }
}

TEST(ConvPlan, SkippedPaddingAndTilesDecide) {
  const auto shape = [](std::int64_t rate) {
    const WindowAxis axis = make_window_axis(41, 3, 1, rate, rate);
    return shape_of(1, 512, 1024, 1, axis, axis);
  };
  const ConvConditions conditions = {true, true};
  const auto chosen = [&](std::int64_t rate) {
    const Conv2dShape conv = shape(rate);
    return cheapest_path(
        conv, ConvCost(conv, conditions),
        std::vector<ConvPath>{ConvPath::kDirect, ConvPath::kWinograd4});
  };
  EXPECT_EQ(chosen(6), ConvPath::kWinograd4);
  // Sub-maps of one or two outputs leave most of a tile empty.
  EXPECT_EQ(chosen(24), ConvPath::kDirect);
}

}  // namespace
}  // namespace deeplab
