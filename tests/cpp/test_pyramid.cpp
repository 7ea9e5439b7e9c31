#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <tuple>
#include <vector>

#include "csrc/core/conv/pyramid.h"
#include "csrc/core/conv/pyramid_stage.h"
#include "csrc/cpu/conv/pyramid.h"

namespace deeplab {
namespace {

Conv2dShape branch(std::int64_t size, std::int64_t rate, std::int64_t kernel,
                   std::int64_t filters) {
  const std::int64_t padding = rate * (kernel / 2);
  Conv2dShape shape;
  shape.batch = 2;
  shape.channels = 3;
  shape.filters = filters;
  shape.window = {make_window_axis(size, kernel, 1, padding, rate),
                  make_window_axis(size + 2, kernel, 1, padding, rate)};
  return shape;
}

std::vector<Conv2dShape> branches(std::int64_t size,
                                  const std::vector<std::int64_t>& rates,
                                  std::int64_t kernel, std::int64_t filters) {
  std::vector<Conv2dShape> shapes;
  for (const std::int64_t rate : rates) {
    shapes.push_back(branch(size, rate, kernel, filters));
  }
  return shapes;
}

TEST(PyramidPlan, TravelsAsAKernelsArgument) {
  // CUDA promises 4 KiB.
  EXPECT_LE(sizeof(PyramidPlan) + sizeof(PyramidArrays<float>), 4096u);
}

class PyramidGeometry
    : public testing::TestWithParam<
          std::tuple<std::int64_t, std::int64_t, std::int64_t, bool>> {};

TEST_P(PyramidGeometry, TilesCoverEveryOutputOnceWithItsValidTapsAlone) {
  const auto [size, kernel, filters, summed] = GetParam();
  const auto shapes = branches(size, {1, 6, 12, 24}, kernel, filters);
  PyramidPlan plan;
  ASSERT_TRUE(make_pyramid_plan(shapes, summed, &plan));
  const Window2d& window = shapes[0].window;
  const std::int64_t pixels = 2 * window.output_size();
  std::vector<int> covered(
      static_cast<std::size_t>(plan.outputs * pixels * filters));
  for (std::int32_t t = 0; t < plan.tiles; ++t) {
    const PyramidTile tile(plan, t);
    for (std::int32_t row = 0; row < PyramidPlan::kTileRows; ++row) {
      const PyramidTile::Place place = tile.place(plan, row);
      if (place.output < 0) continue;
      for (std::int32_t f = tile.first_filter;
           f < std::min<std::int64_t>(
                   tile.first_filter + PyramidPlan::kTileFilters, filters);
           ++f) {
        ++covered[static_cast<std::size_t>(
            (tile.output * pixels + place.output) * filters + f)];
      }
      std::set<std::tuple<int, int, int>> taps;
      for (PyramidCursor cursor(plan, tile); !cursor.done();
           cursor.next(plan, tile)) {
        EXPECT_TRUE(
            taps.emplace(cursor.branch, cursor.tap_h, cursor.tap_w).second);
      }
      const std::int64_t in_image = place.output % window.output_size();
      const std::int64_t y = in_image / window.w.output;
      const std::int64_t x = in_image % window.w.output;
      std::set<std::tuple<int, int, int>> valid;
      for (int b = plan.first_branch(tile.output);
           b < plan.end_branch(tile.output); ++b) {
        const Window2d& of = shapes[static_cast<std::size_t>(b)].window;
        for (int i = 0; i < kernel; ++i) {
          for (int j = 0; j < kernel; ++j) {
            if (of.h.inside(of.h.position(y, i)) &&
                of.w.inside(of.w.position(x, j))) {
              valid.emplace(b, i, j);
            }
          }
        }
      }
      ASSERT_EQ(taps, valid);
    }
  }
  for (const int count : covered) ASSERT_EQ(count, 1);
}

INSTANTIATE_TEST_SUITE_P(Sizes, PyramidGeometry,
                         testing::Combine(testing::Values(1, 7, 13, 30),
                                          testing::Values(1, 3),
                                          testing::Values(5, 130),
                                          testing::Bool()));

TEST(PyramidPlan, DeepestRegionsComeFirst) {
  PyramidPlan plan;
  ASSERT_TRUE(
      make_pyramid_plan(branches(41, {6, 12, 18, 24}, 3, 8), false, &plan));
  EXPECT_EQ(plan.regions, 36);
  int before = 9;
  for (int r = 0; r < plan.regions; ++r) {
    const int depth = pyramid::depth(plan, plan.region[r]);
    EXPECT_LE(depth, before);
    before = depth;
  }
}

TEST(PyramidPlan, RefusesWhatItDoesNotHold) {
  PyramidPlan plan;
  EXPECT_FALSE(
      make_pyramid_plan(branches(9, {1, 2, 3, 4, 5}, 3, 8), true, &plan));
  EXPECT_FALSE(make_pyramid_plan(branches(99, {1, 3}, 19, 8), true, &plan));
}

TEST(PyramidLoops, EqualConvolutionsOneByOne) {
  const auto shapes = branches(6, {1, 3}, 3, 4);
  const Window2d& window = shapes[0].window;
  std::mt19937 generator(2);
  std::uniform_real_distribution<double> draw(-1, 1);
  const auto filled = [&](std::int64_t count) {
    std::vector<double> values(static_cast<std::size_t>(count));
    for (double& value : values) value = draw(generator);
    return values;
  };
  const auto input = filled(2 * window.input_size() * 3);
  const auto bias = filled(4);
  const std::vector<std::vector<double>> weights = {filled(9 * 12),
                                                    filled(9 * 12)};
  std::vector<double> output(
      static_cast<std::size_t>(2 * window.output_size() * 4), -7);
  PyramidPlan plan;
  ASSERT_TRUE(make_pyramid_plan(shapes, true, &plan));
  PyramidArrays<double> arrays;
  for (std::size_t b = 0; b < 2; ++b) {
    arrays.inputs[b] = input.data();
    arrays.weights[b] = weights[b].data();
  }
  arrays.biases[0] = bias.data();
  arrays.outputs[0] = output.data();
  arrays.relu = true;
  pyramid_cpu(plan, arrays);
  for (std::int64_t pixel = 0; pixel < 2 * window.output_size(); ++pixel) {
    const std::int64_t image = pixel / window.output_size();
    const std::int64_t y = pixel % window.output_size() / window.w.output;
    const std::int64_t x = pixel % window.w.output;
    for (std::int64_t f = 0; f < 4; ++f) {
      double sum = bias[static_cast<std::size_t>(f)];
      for (std::size_t b = 0; b < 2; ++b) {
        const Window2d& of = shapes[b].window;
        for (std::int64_t tap = 0; tap < 9; ++tap) {
          const std::int64_t at_y = of.h.position(y, tap / 3);
          const std::int64_t at_x = of.w.position(x, tap % 3);
          if (!of.h.inside(at_y) || !of.w.inside(at_x)) continue;
          for (std::int64_t c = 0; c < 3; ++c) {
            const std::int64_t place =
                ((image * of.h.input + at_y) * of.w.input + at_x) * 3 + c;
            sum += input[static_cast<std::size_t>(place)] *
                   weights[b][static_cast<std::size_t>((tap * 3 + c) * 4 + f)];
          }
        }
      }
      EXPECT_NEAR(output[static_cast<std::size_t>(pixel * 4 + f)],
                  std::max(sum, 0.0), 1e-12);
    }
  }
}

struct HostCopy {
  void operator()(void* to, const void* from, bool valid) const {
    if (valid) {
      std::memcpy(to, from, kPyramidUnitBytes);
    } else {
      std::memset(to, 0, kPyramidUnitBytes);
    }
  }
};

// The kernel's threads one after the other: every thread brings its part of a
// stage, then every thread multiplies its rows and filters.
TEST(PyramidBlock, ThreadByThreadEqualsTheLoops) {
  using Loader = PyramidLoader<float, HostCopy>;
  constexpr int kSide = PlainSums::kSide;
  for (const bool summed : {true, false}) {
    auto shapes = branches(13, {2, 7, 20}, 3, 132);
    for (Conv2dShape& shape : shapes) shape.channels = 20;
    const Window2d& window = shapes[0].window;
    PyramidPlan plan;
    ASSERT_TRUE(make_pyramid_plan(shapes, summed, &plan));
    std::mt19937 generator(4);
    std::uniform_real_distribution<float> draw(-1, 1);
    const auto filled = [&](std::int64_t count) {
      std::vector<float> values(static_cast<std::size_t>(count));
      for (float& value : values) value = draw(generator);
      return values;
    };
    const auto input = filled(2 * window.input_size() * 20);
    const auto weight = filled(3 * 9 * 20 * 132);
    const auto outputs = static_cast<std::size_t>(plan.outputs);
    const auto size = static_cast<std::size_t>(2 * window.output_size() * 132);
    std::vector<std::vector<float>> expected(outputs, std::vector<float>(size));
    std::vector<std::vector<float>> result(outputs, std::vector<float>(size));
    PyramidArrays<float> arrays;
    for (int b = 0; b < 3; ++b) {
      arrays.inputs[b] = input.data();
      arrays.weights[b] = weight.data() + b * 9 * 20 * 132;
    }
    for (std::size_t o = 0; o < outputs; ++o) {
      arrays.outputs[o] = expected[o].data();
    }
    pyramid_cpu(plan, arrays);
    const auto stage = std::make_unique<Loader::Stage>();
    for (std::int32_t t = 0; t < plan.tiles; ++t) {
      const PyramidTile tile(plan, t);
      std::vector<Loader> loaders;
      for (int thread = 0; thread < kPyramidThreads; ++thread) {
        loaders.emplace_back(plan, arrays, tile, thread);
      }
      std::vector<float> sums(kPyramidThreads * kSide * kSide);
      while (!loaders[0].done()) {
        for (float& value : stage->samples) value = NAN;
        for (float& value : stage->weights) value = NAN;
        for (Loader& loader : loaders) loader.load(stage.get());
        for (int thread = 0; thread < kPyramidThreads; ++thread) {
          for (int i = 0; i < kSide; ++i) {
            for (int j = 0; j < kSide; ++j) {
              for (int k = 0; k < Loader::Stage::kDepth; ++k) {
                sums[(thread * kSide + i) * kSide + j] +=
                    stage->samples[PlainSums::row(thread, i) *
                                       Loader::Stage::kSampleRow +
                                   k] *
                    stage->weights[k * Loader::Stage::kWeightRow +
                                   PlainSums::column(thread, j)];
              }
            }
          }
        }
      }
      for (int thread = 0; thread < kPyramidThreads; ++thread) {
        for (int i = 0; i < kSide; ++i) {
          const std::int32_t pixel =
              tile.place(plan, PlainSums::row(thread, i)).output;
          for (int j = 0; j < kSide; ++j) {
            const int filter = tile.first_filter + PlainSums::column(thread, j);
            if (pixel < 0 || filter >= plan.filters) continue;
            result[static_cast<std::size_t>(tile.output)]
                  [static_cast<std::size_t>(pixel * 132 + filter)] +=
                sums[(thread * kSide + i) * kSide + j];
          }
        }
      }
    }
    for (std::size_t o = 0; o < outputs; ++o) {
      for (std::size_t i = 0; i < size; ++i) {
        ASSERT_NEAR(result[o][i], expected[o][i], 1e-3f);
      }
    }
  }
}

}  // namespace
}  // namespace deeplab
