// Several atrous convolutions in one launch: branches, each with an input, a
// weight, a padding and a rate of its own, that are summed into one output or
// have one each. An output is cut into regions that meet the inputs with the
// same taps (core/regions.h), a region into tiles; a tile sums the products of
// the valid taps of all branches of its output. Arrays are channels-last,
// weights [kernel_h, kernel_w, channels, filters].
//
// The plan is small enough to travel as a kernel's argument, and what a kernel
// reads from it a plain loop can read as well.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "csrc/core/conv/regions.h"
#include "csrc/core/conv/window.h"
#include "csrc/core/macros.h"

namespace deeplab {

// Taps [first, end) of an axis.
struct TapRange {
  std::uint8_t first = 0;
  std::uint8_t end = 0;
};

struct PyramidAxis {
  static constexpr int kMostBranches = 4;
  static constexpr int kMostSegments = 17;

  // Of output o: segment s holds the outputs [bound[o][s], bound[o][s + 1]).
  std::int32_t bounds[kMostBranches][kMostSegments + 1] = {};
  std::int32_t segments[kMostBranches] = {};
  // Of branch b in segment s of its output.
  TapRange taps[kMostBranches][kMostSegments] = {};
  std::int32_t padding[kMostBranches] = {};
  std::int32_t dilation[kMostBranches] = {};
  std::int32_t kernel = 1;
  std::int32_t input = 1;
  std::int32_t output = 1;
};

struct PyramidPlan {
  static constexpr int kMostRegions = 289;
  static constexpr int kTileRows = 128;
  static constexpr int kTileFilters = 128;

  struct Region {
    std::uint8_t output;
    std::uint8_t h;  // segments
    std::uint8_t w;
  };

  PyramidAxis h;
  PyramidAxis w;
  std::int32_t branches = 0;
  std::int32_t outputs = 0;  // 1 or branches
  std::int32_t batch = 0;
  std::int32_t channels = 0;
  std::int32_t filters = 0;
  std::int32_t regions = 0;
  std::int32_t tiles = 0;
  // Tiles of the regions before one; deepest regions come first, so that what
  // is left at the end is short.
  std::int32_t first_tile[kMostRegions] = {};
  Region region[kMostRegions] = {};

  DEEPLAB_HD int first_branch(int output) const {
    return outputs == 1 ? 0 : output;
  }
  DEEPLAB_HD int end_branch(int output) const {
    return outputs == 1 ? branches : output + 1;
  }
};

// One tile of a plan.
struct PyramidTile {
  std::int32_t output;
  std::int32_t h;  // segments
  std::int32_t w;
  std::int32_t first_h;
  std::int32_t first_w;
  std::int32_t height;
  std::int32_t width;
  std::int32_t first_row;  // of the region's rows, images outermost
  std::int32_t first_filter;

  DEEPLAB_HD PyramidTile(const PyramidPlan& plan, std::int32_t index) {
    int low = 0;
    int high = plan.regions;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (plan.first_tile[middle] <= index) {
        low = middle;
      } else {
        high = middle;
      }
    }
    output = plan.region[low].output;
    h = plan.region[low].h;
    w = plan.region[low].w;
    first_h = plan.h.bounds[output][h];
    first_w = plan.w.bounds[output][w];
    height = plan.h.bounds[output][h + 1] - first_h;
    width = plan.w.bounds[output][w + 1] - first_w;
    // Neighbours share their filters, hence their weights.
    const std::int32_t rows = tiles_of_rows(plan);
    const std::int32_t place = index - plan.first_tile[low];
    first_row = place % rows * PyramidPlan::kTileRows;
    first_filter = place / rows * PyramidPlan::kTileFilters;
  }

  DEEPLAB_HD std::int32_t rows(const PyramidPlan& plan) const {
    return plan.batch * height * width;
  }
  DEEPLAB_HD std::int32_t tiles_of_rows(const PyramidPlan& plan) const {
    return (rows(plan) + PyramidPlan::kTileRows - 1) / PyramidPlan::kTileRows;
  }

  struct Place {
    std::int32_t input;   // pixel that offset 0 meets
    std::int32_t output;  // pixel; -1 beyond the region
  };

  DEEPLAB_HD Place place(const PyramidPlan& plan, std::int32_t row) const {
    const std::int32_t of_region = first_row + row;
    if (of_region >= rows(plan)) return {0, -1};
    const std::int32_t size = height * width;
    const std::int32_t image = of_region / size;
    const std::int32_t y = first_h + of_region % size / width;
    const std::int32_t x = first_w + of_region % width;
    return {(image * plan.h.input + y) * plan.w.input + x,
            (image * plan.h.output + y) * plan.w.output + x};
  }
};

// The taps of a tile, one after the other.
struct PyramidCursor {
  std::int32_t branch;
  std::int32_t tap_h;
  std::int32_t tap_w;
  std::int32_t end_branch;

  DEEPLAB_HD PyramidCursor(const PyramidPlan& plan, const PyramidTile& tile)
      : branch(plan.first_branch(tile.output)),
        tap_h(0),
        tap_w(0),
        end_branch(plan.end_branch(tile.output)) {
    enter(plan, tile);
  }

  DEEPLAB_HD bool done() const { return branch == end_branch; }

  DEEPLAB_HD void next(const PyramidPlan& plan, const PyramidTile& tile) {
    if (++tap_w < plan.w.taps[branch][tile.w].end) return;
    tap_w = plan.w.taps[branch][tile.w].first;
    if (++tap_h < plan.h.taps[branch][tile.h].end) return;
    ++branch;
    enter(plan, tile);
  }

  // Of the tap's sample from a row's pixel, in pixels.
  DEEPLAB_HD std::int32_t offset(const PyramidPlan& plan) const {
    return (tap_h * plan.h.dilation[branch] - plan.h.padding[branch]) *
               plan.w.input +
           tap_w * plan.w.dilation[branch] - plan.w.padding[branch];
  }
  // Place of the tap in the branch's weight.
  DEEPLAB_HD std::int32_t tap(const PyramidPlan& plan) const {
    return tap_h * plan.w.kernel + tap_w;
  }

 private:
  // To the first tap of this branch, or of a later one that has any.
  DEEPLAB_HD void enter(const PyramidPlan& plan, const PyramidTile& tile) {
    for (; branch < end_branch; ++branch) {
      const TapRange h = plan.h.taps[branch][tile.h];
      const TapRange w = plan.w.taps[branch][tile.w];
      tap_h = h.first;
      tap_w = w.first;
      if (h.first < h.end && w.first < w.end) return;
    }
  }
};

namespace pyramid {

// Cuts output `output` of an axis where the taps of its branches change; false
// where there are more segments than a plan holds.
inline bool cut(PyramidAxis* axis, const WindowAxis* windows, int output,
                int first, int end) {
  std::vector<std::int64_t> cuts;
  for (int branch = first; branch < end; ++branch) {
    for (const AxisRegion& region : axis_regions(windows[branch])) {
      cuts.push_back(region.first);
    }
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  if (cuts.size() > PyramidAxis::kMostSegments) return false;
  const int segments = static_cast<int>(cuts.size());
  axis->segments[output] = segments;
  for (int s = 0; s < segments; ++s) {
    axis->bounds[output][s] = static_cast<std::int32_t>(cuts[s]);
  }
  axis->bounds[output][segments] = axis->output;
  for (int branch = first; branch < end; ++branch) {
    int segment = 0;
    for (const AxisRegion& region : axis_regions(windows[branch])) {
      for (; segment < segments && cuts[segment] < region.end; ++segment) {
        axis->taps[branch][segment] = {
            static_cast<std::uint8_t>(region.tap_first),
            static_cast<std::uint8_t>(region.tap_end)};
      }
    }
  }
  return true;
}

inline int depth(const PyramidPlan& plan, const PyramidPlan::Region& region) {
  int taps = 0;
  for (int branch = plan.first_branch(region.output);
       branch < plan.end_branch(region.output); ++branch) {
    const TapRange h = plan.h.taps[branch][region.h];
    const TapRange w = plan.w.taps[branch][region.w];
    taps += (h.end - h.first) * (w.end - w.first);
  }
  return taps;
}

}  // namespace pyramid

// The plan of branches of equal sizes, stride 1; false where it does not fit
// (more than kMostBranches, taps of an axis beyond 255, too many segments, or
// indices beyond 32 bits).
inline bool make_pyramid_plan(const std::vector<Conv2dShape>& branches,
                              bool summed, PyramidPlan* plan) {
  const Conv2dShape& shape = branches.front();
  if (branches.size() > PyramidAxis::kMostBranches) return false;
  const Window2d& window = shape.window;
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  if (window.h.kernel > 255 || window.w.kernel > 255 ||
      shape.batch * window.input_size() >= kMost ||
      shape.batch * window.output_size() >= kMost || shape.channels >= kMost ||
      shape.filters >= kMost) {
    return false;
  }
  *plan = PyramidPlan();
  plan->branches = static_cast<std::int32_t>(branches.size());
  plan->outputs = summed ? 1 : plan->branches;
  plan->batch = static_cast<std::int32_t>(shape.batch);
  plan->channels = static_cast<std::int32_t>(shape.channels);
  plan->filters = static_cast<std::int32_t>(shape.filters);
  std::vector<WindowAxis> windows_h;
  std::vector<WindowAxis> windows_w;
  const auto fill = [&](PyramidAxis* axis, const WindowAxis& of,
                        std::size_t branch) {
    axis->kernel = static_cast<std::int32_t>(of.kernel);
    axis->input = static_cast<std::int32_t>(of.input);
    axis->output = static_cast<std::int32_t>(of.output);
    axis->padding[branch] = static_cast<std::int32_t>(of.padding);
    axis->dilation[branch] = static_cast<std::int32_t>(of.dilation);
  };
  for (std::size_t b = 0; b < branches.size(); ++b) {
    windows_h.push_back(branches[b].window.h);
    windows_w.push_back(branches[b].window.w);
    fill(&plan->h, windows_h.back(), b);
    fill(&plan->w, windows_w.back(), b);
  }
  std::vector<PyramidPlan::Region> regions;
  for (int output = 0; output < plan->outputs; ++output) {
    const int first = plan->first_branch(output);
    const int end = plan->end_branch(output);
    if (!pyramid::cut(&plan->h, windows_h.data(), output, first, end) ||
        !pyramid::cut(&plan->w, windows_w.data(), output, first, end)) {
      return false;
    }
    for (int h = 0; h < plan->h.segments[output]; ++h) {
      for (int w = 0; w < plan->w.segments[output]; ++w) {
        regions.push_back({static_cast<std::uint8_t>(output),
                           static_cast<std::uint8_t>(h),
                           static_cast<std::uint8_t>(w)});
      }
    }
  }
  if (regions.size() > PyramidPlan::kMostRegions) return false;
  std::stable_sort(
      regions.begin(), regions.end(), [&](const auto& left, const auto& right) {
        return pyramid::depth(*plan, left) > pyramid::depth(*plan, right);
      });
  plan->regions = static_cast<std::int32_t>(regions.size());
  std::int64_t tiles = 0;
  for (std::size_t r = 0; r < regions.size(); ++r) {
    plan->region[r] = regions[r];
    plan->first_tile[r] = static_cast<std::int32_t>(tiles);
    const auto length = [](const PyramidAxis& axis, int output, int segment) {
      return std::int64_t{axis.bounds[output][segment + 1]} -
             axis.bounds[output][segment];
    };
    const std::int64_t rows = shape.batch *
                              length(plan->h, regions[r].output, regions[r].h) *
                              length(plan->w, regions[r].output, regions[r].w);
    tiles += (rows + PyramidPlan::kTileRows - 1) / PyramidPlan::kTileRows *
             ((shape.filters + PyramidPlan::kTileFilters - 1) /
              PyramidPlan::kTileFilters);
    if (tiles >= kMost) return false;
  }
  plan->tiles = static_cast<std::int32_t>(tiles);
  return true;
}

// What a plan works on: an input and a weight per branch, an output and (or
// null) a bias per output.
template <typename T>
struct PyramidArrays {
  const T* inputs[PyramidAxis::kMostBranches] = {};
  const T* weights[PyramidAxis::kMostBranches] = {};
  const T* biases[PyramidAxis::kMostBranches] = {};
  T* outputs[PyramidAxis::kMostBranches] = {};
  bool relu = false;
};

}  // namespace deeplab
