// The second way of Chen et al. (2015, section 3.1) to an atrous convolution of
// rate r: interlacing splits the map into r x r sub-maps on which it is a dense
// one. Here only the geometry: sub-maps are read and written in place.
#pragma once

#include <cstdint>

#include "csrc/core/conv/window.h"
#include "csrc/core/macros.h"

namespace deeplab {

// One axis of a stride-1 window, its outputs cut into tiles of `tile`
// consecutive outputs of one sub-map.
struct InterlacedAxis {
  WindowAxis axis;
  std::int64_t tile = 1;

  struct Tile {
    std::int64_t output;  // first output position; the next is `dilation` on
    std::int64_t input;   // input position that tap 0 meets there
  };

  // Sub-maps 0 .. longer() - 1 have one output more than the others.
  DEEPLAB_HD std::int64_t longer() const { return axis.output % axis.dilation; }
  DEEPLAB_HD std::int64_t tiles_of_longer() const {
    return (axis.output / axis.dilation + tile) / tile;
  }
  DEEPLAB_HD std::int64_t tiles_of_shorter() const {
    return (axis.output / axis.dilation + tile - 1) / tile;
  }

  DEEPLAB_HD std::int64_t tiles() const {
    return longer() * tiles_of_longer() +
           (axis.dilation - longer()) * tiles_of_shorter();
  }

  DEEPLAB_HD Tile at(std::int64_t index) const {
    const std::int64_t in_longer = longer() * tiles_of_longer();
    std::int64_t phase;
    std::int64_t place;
    if (index < in_longer) {
      phase = index / tiles_of_longer();
      place = index % tiles_of_longer();
    } else {
      phase = longer() + (index - in_longer) / tiles_of_shorter();
      place = (index - in_longer) % tiles_of_shorter();
    }
    const std::int64_t output = phase + place * tile * axis.dilation;
    return {output, axis.position(output, 0)};
  }
};

// Tiles of tile x tile outputs over a batch, images outermost.
struct InterlacedTiles {
  InterlacedAxis h;
  InterlacedAxis w;
  std::int64_t batch = 1;

  InterlacedTiles(const Conv2dShape& shape, std::int64_t tile)
      : h{shape.window.h, tile}, w{shape.window.w, tile}, batch(shape.batch) {}

  DEEPLAB_HD std::int64_t per_image() const { return h.tiles() * w.tiles(); }
  DEEPLAB_HD std::int64_t count() const { return batch * per_image(); }
};

}  // namespace deeplab
