// The geometry behind the products of core/conv/batched.h, and a plain loop
// that runs its functors against a convolution written out.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "csrc/core/conv/batched.h"
#include "csrc/core/conv/divider.h"
#include "csrc/core/conv/plan_cuda.h"
#include "csrc/core/conv/regions.h"
#include "csrc/core/conv/shift_add.h"

namespace deeplab {
namespace {

TEST(Divider, DividesLikeTheProcessor) {
  std::mt19937 generator(7);
  std::vector<std::uint32_t> values = {0, 1, 2, 4294967295u, 2147483648u};
  for (int i = 0; i < 500; ++i) {
    values.push_back(generator());
    values.push_back(generator() % 5000);
  }
  for (std::uint32_t divisor : values) {
    if (divisor == 0 || divisor > 2147483648u) continue;
    const Divider divide{static_cast<std::int64_t>(divisor)};
    for (const std::uint32_t value : values) {
      const Divider::Parts parts = divide(value);
      ASSERT_EQ(parts.quotient, value / divisor) << value << " / " << divisor;
      ASSERT_EQ(parts.remainder, value % divisor);
    }
  }
}

std::vector<WindowAxis> axes() {
  std::vector<WindowAxis> result;
  for (std::int64_t input : {1, 2, 5, 11, 41}) {
    for (std::int64_t kernel : {1, 2, 3, 4}) {
      for (std::int64_t stride : {1, 2, 3}) {
        for (std::int64_t padding : {0, 1, 4, 13, 24}) {
          for (std::int64_t dilation : {1, 3, 12, 24}) {
            if (window_extent(kernel, dilation) > input + 2 * padding) continue;
            result.push_back(
                make_window_axis(input, kernel, stride, padding, dilation));
          }
        }
      }
    }
  }
  // More padding than reach: taps of a gradient start inside the output.
  result.push_back({9, 3, 1, -2, 2, 4});
  return result;
}

TEST(AxisRegions, HoldExactlyTheTapsThatMeetTheInput) {
  for (const WindowAxis& axis : axes()) {
    std::int64_t next = 0;
    for (const AxisRegion& region : axis_regions(axis)) {
      EXPECT_EQ(region.first, next);
      EXPECT_LT(region.first, region.end);
      next = region.end;
      for (std::int64_t out = region.first; out < region.end; ++out) {
        for (std::int64_t tap = 0; tap < axis.kernel; ++tap) {
          EXPECT_EQ(axis.inside(axis.position(out, tap)),
                    region.tap_first <= tap && tap < region.tap_end);
        }
      }
    }
    EXPECT_EQ(next, axis.output);
  }
}

TEST(AxisRegions, AreAsManyAsSetsOfTaps) {
  const auto taps = [](std::int64_t rate) {
    std::vector<std::int64_t> counts;
    for (const AxisRegion& region :
         axis_regions(make_window_axis(41, 3, 1, rate, rate))) {
      counts.push_back(region.taps());
    }
    return counts;
  };
  EXPECT_EQ(taps(12), (std::vector<std::int64_t>{2, 3, 2}));
  EXPECT_EQ(taps(24), (std::vector<std::int64_t>{2, 1, 2}));
  EXPECT_EQ(taps(48), (std::vector<std::int64_t>{1}));
}

// A convolution of three channels, two of them in the second of two groups'
// place, region by region; every product is made of valid samples alone.
TEST(RegionFunctors, MakeAConvolution) {
  const WindowAxis h = make_window_axis(9, 3, 2, 4, 3);
  const WindowAxis w = make_window_axis(7, 2, 1, 2, 5);
  constexpr std::int64_t kBatch = 2;
  constexpr std::int64_t kPixel = 5;
  constexpr std::int64_t kOffset = 2;
  constexpr std::int64_t kChannels = 3;
  constexpr std::int64_t kFilters = 4;
  std::mt19937 generator(5);
  std::uniform_real_distribution<float> draw(-1, 1);
  std::vector<float> input(kBatch * h.input * w.input * kPixel);
  std::vector<float> weight(h.kernel * w.kernel * kChannels * kFilters);
  std::vector<float> bias(kFilters);
  for (auto* values : {&input, &weight, &bias}) {
    for (float& value : *values) value = draw(generator);
  }
  std::vector<float> output(kBatch * h.output * w.output * kFilters, -9);
  for (const AxisRegion& region_h : axis_regions(h)) {
    for (const AxisRegion& region_w : axis_regions(w)) {
      const RegionRows rows(kBatch, region_h, region_w);
      const std::int64_t depth = region_h.taps() * region_w.taps() * kChannels;
      constexpr std::int64_t kPart = 3;
      for (std::int64_t first = 0; first < rows.count; first += kPart) {
        const std::int64_t count = std::min(kPart, rows.count - first);
        std::vector<float> samples(static_cast<std::size_t>(count * depth));
        if (depth > 0) {
          RegionSamples<float> move;
          move.h = h;
          move.w = w;
          move.tap_h = region_h.tap_first;
          move.tap_w = region_w.tap_first;
          move.rows = rows;
          move.first_row = static_cast<std::uint32_t>(first);
          move.by_channels = Divider(kChannels);
          move.by_taps = Divider(region_h.taps() * region_w.taps());
          move.by_taps_w = Divider(region_w.taps());
          move.input = {input.data() + kOffset, h.input, w.input, kPixel};
          move.matrix = samples.data();
          for (std::size_t i = 0; i < samples.size(); ++i) {
            move(static_cast<std::uint32_t>(i));
          }
        }
        std::vector<float> products(static_cast<std::size_t>(count * kFilters));
        for (std::int64_t row = 0; row < count; ++row) {
          for (std::int64_t k = 0; k < depth; ++k) {
            const std::int64_t tap = k / kChannels;
            const std::int64_t tap_h =
                region_h.tap_first + tap / region_w.taps();
            const std::int64_t tap_w =
                region_w.tap_first + tap % region_w.taps();
            for (std::int64_t f = 0; f < kFilters; ++f) {
              products[row * kFilters + f] +=
                  samples[row * depth + k] *
                  weight[((tap_h * w.kernel + tap_w) * kChannels +
                          k % kChannels) *
                             kFilters +
                         f];
            }
          }
        }
        RegionOutputs<float> store;
        store.rows = rows;
        store.first_row = static_cast<std::uint32_t>(first);
        store.by_filters = Divider(kFilters);
        store.products = products.data();
        store.finish = {bias.data(), true};
        store.output = {output.data(), h.output, w.output, kFilters};
        for (std::size_t i = 0; i < products.size(); ++i) {
          store(static_cast<std::uint32_t>(i));
        }
      }
    }
  }
  for (std::int64_t image = 0; image < kBatch; ++image) {
    for (std::int64_t y = 0; y < h.output; ++y) {
      for (std::int64_t x = 0; x < w.output; ++x) {
        for (std::int64_t f = 0; f < kFilters; ++f) {
          float sum = bias[f];
          for (std::int64_t tap = 0; tap < h.kernel * w.kernel; ++tap) {
            const std::int64_t at_y = h.position(y, tap / w.kernel);
            const std::int64_t at_x = w.position(x, tap % w.kernel);
            if (!h.inside(at_y) || !w.inside(at_x)) continue;
            for (std::int64_t c = 0; c < kChannels; ++c) {
              sum +=
                  input[((image * h.input + at_y) * w.input + at_x) * kPixel +
                        kOffset + c] *
                  weight[(tap * kChannels + c) * kFilters + f];
            }
          }
          EXPECT_NEAR(
              output[((image * h.output + y) * w.output + x) * kFilters + f],
              std::max(sum, 0.0f), 1e-5f);
        }
      }
    }
  }
}

TEST(TileAxis, EqualsInterlacedAxis) {
  for (std::int64_t input : {1, 5, 7, 20, 41}) {
    for (std::int64_t rate : {1, 2, 3, 12, 24}) {
      for (std::int64_t tile : {2, 4}) {
        const InterlacedAxis slow = {make_window_axis(input, 3, 1, rate, rate),
                                     tile};
        const TileAxis fast(slow);
        for (std::int64_t i = 0; i < slow.tiles(); ++i) {
          const auto at = fast(static_cast<std::uint32_t>(i));
          EXPECT_EQ(at.output, slow.at(i).output);
          EXPECT_EQ(at.input, slow.at(i).input);
        }
      }
    }
  }
}

TEST(ShiftFunctors, AreAdjoint) {
  constexpr std::int64_t kBatch = 2, kHeight = 4, kWidth = 3, kFilters = 2;
  const std::vector<std::int32_t> shift_h = {0, 1, -3, 9};
  const std::vector<std::int32_t> shift_w = {0, -2, 1, 0};
  const auto taps = static_cast<std::int64_t>(shift_h.size());
  const std::int64_t points = kBatch * kHeight * kWidth * kFilters;
  std::mt19937 generator(1);
  std::uniform_int_distribution<int> draw(-8, 8);
  std::vector<float> values(static_cast<std::size_t>(points * taps));
  std::vector<float> maps(static_cast<std::size_t>(points));
  for (auto* each : {&values, &maps}) {
    for (float& value : *each) value = static_cast<float>(draw(generator));
  }
  std::vector<float> sums(maps.size());
  std::vector<float> gathered(values.size(), -99);
  // Two taps at a time, as more than Shifts holds would be.
  for (std::int64_t first = 0; first < taps; first += 2) {
    Shifts shifts;
    shifts.count = 2;
    for (int i = 0; i < 2; ++i) {
      shifts.h[i] = shift_h[first + i];
      shifts.w[i] = shift_w[first + i];
    }
    const ShiftedMaps geometry = {kHeight, kWidth, taps, first, kFilters};
    const ShiftAdd<float> add = {
        geometry,         shifts,    Divider(kFilters), Divider(kWidth),
        Divider(kHeight), first > 0, values.data(),     sums.data()};
    const ShiftGather<float> gather = {
        geometry,         shifts,      Divider(kFilters), Divider(kWidth),
        Divider(kHeight), maps.data(), gathered.data()};
    for (std::int64_t i = 0; i < points; ++i) {
      add(static_cast<std::uint32_t>(i));
      gather(static_cast<std::uint32_t>(i));
    }
  }
  double left = 0;
  double right = 0;
  for (std::size_t i = 0; i < maps.size(); ++i) left += sums[i] * maps[i];
  for (std::size_t i = 0; i < values.size(); ++i) {
    right += values[i] * gathered[i];
  }
  EXPECT_EQ(left, right);
  // The sum of the second image's map at (1, 0), filter 1: tap (0, 0) and tap
  // (-3, 1) and (9, 0) outside, (1, -2) outside.
  const std::int64_t place = (kHeight + 1) * kWidth;
  EXPECT_EQ(sums[place * kFilters + 1], values[place * taps * kFilters + 1]);
}

TEST(CudaConvCost, SkippedPaddingPaysWhereProductsAreSlowAndMany) {
  const auto chosen = [](std::int64_t batch, std::int64_t rate,
                         ProductKind kind) {
    const WindowAxis axis = make_window_axis(41, 3, 1, rate, rate);
    Conv2dShape shape;
    shape.batch = batch;
    shape.channels = 512;
    shape.filters = 1024;
    shape.window = {axis, axis};
    const CudaConditions conditions = {
        kind,     kind, kind == ProductKind::kReduced ? 2 : 4,
        64 << 20, true, true};
    return cheapest_path(
        shape, CudaConvCost(shape, conditions),
        std::vector<ConvPath>{ConvPath::kLibrary, ConvPath::kDirect});
  };
  EXPECT_EQ(chosen(10, 24, ProductKind::kFloat32), ConvPath::kDirect);
  EXPECT_EQ(chosen(10, 2, ProductKind::kReduced), ConvPath::kLibrary);
  // A product per region leaves the processors of a large GPU idle.
  EXPECT_EQ(chosen(1, 12, ProductKind::kFloat32), ConvPath::kLibrary);
}

}  // namespace
}  // namespace deeplab
