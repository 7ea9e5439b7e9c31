// Regions of outputs that meet the input with the same taps. Within one, the
// samples of all its taps form a matrix without a single padding zero: a
// convolution is one matrix product per region, of the valid products alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "csrc/core/conv/divider.h"
#include "csrc/core/conv/window.h"
#include "csrc/core/macros.h"

namespace deeplab {

// Outputs [first, end) of an axis, where the taps [tap_first, tap_end) and no
// others meet the input; there may be none.
struct AxisRegion {
  std::int64_t first = 0;
  std::int64_t end = 0;
  std::int64_t tap_first = 0;
  std::int64_t tap_end = 0;

  DEEPLAB_HD std::int64_t outputs() const { return end - first; }
  DEEPLAB_HD std::int64_t taps() const { return tap_end - tap_first; }
};

// The regions of an axis, in order; they cover every output once. The padding
// may be negative.
inline std::vector<AxisRegion> axis_regions(const WindowAxis& axis) {
  std::vector<std::int64_t> cuts = {0, axis.output};
  for (std::int64_t tap = 0; tap < axis.kernel; ++tap) {
    if (axis.first_inside(tap) == axis.end_inside(tap)) continue;
    cuts.push_back(axis.first_inside(tap));
    cuts.push_back(axis.end_inside(tap));
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  std::vector<AxisRegion> regions;
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
    AxisRegion region = {cuts[i], cuts[i + 1], 0, 0};
    // Positions grow with the tap, so that those inside follow each other.
    while (region.tap_first < axis.kernel &&
           !axis.inside(axis.position(region.first, region.tap_first))) {
      ++region.tap_first;
    }
    region.tap_end = region.tap_first;
    while (region.tap_end < axis.kernel &&
           axis.inside(axis.position(region.first, region.tap_end))) {
      ++region.tap_end;
    }
    if (region.taps() == 0) region.tap_first = region.tap_end = 0;
    regions.push_back(region);
  }
  return regions;
}

// The outputs of one region of a batch as rows of a matrix: images outermost,
// then y, then x. At most 2^31 rows.
struct RegionRows {
  struct Place {
    std::int64_t image;
    std::int64_t y;  // of the output
    std::int64_t x;
  };

  std::int64_t first_h = 0;
  std::int64_t first_w = 0;
  std::int64_t count = 0;
  Divider by_size;
  Divider by_width;

  RegionRows() = default;
  RegionRows(std::int64_t batch, const AxisRegion& h, const AxisRegion& w)
      : first_h(h.first),
        first_w(w.first),
        count(batch * h.outputs() * w.outputs()),
        by_size(h.outputs() * w.outputs()),
        by_width(w.outputs()) {}

  DEEPLAB_HD Place operator()(std::uint32_t row) const {
    const Divider::Parts image = by_size(row);
    const Divider::Parts place = by_width(image.remainder);
    return {image.quotient, first_h + place.quotient,
            first_w + place.remainder};
  }
};

}  // namespace deeplab
