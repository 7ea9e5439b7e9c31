// Weights as the direct and the Winograd convolution read them.
#pragma once

#include <cstdint>

#include "csrc/core/conv/plan.h"
#include "csrc/core/conv/window.h"

namespace deeplab {

// Weights [groups, filters, channels, kernel_h, kernel_w] of any strides (in
// elements, negative ones for mirrored axes).
template <typename T>
struct WeightView {
  const T* data;  // element (0, 0, 0, 0, 0)
  std::int64_t groups;
  std::int64_t filters;   // of one group
  std::int64_t channels;  // of one group
  std::int64_t kernel_h;
  std::int64_t kernel_w;
  std::int64_t strides[5];
};

// Packed: for each group and each block of kFilterBlock filters (the last one
// is as wide as what is left) [positions, channels, block]; positions are taps
// (direct) or places of the Winograd domain. As many elements in all as
// positions * groups * filters * channels.
struct PackedLayout {
  std::int64_t positions;
  std::int64_t filters;
  std::int64_t channels;

  std::int64_t group_size() const { return positions * filters * channels; }
  // First element of the block that starts at filter `filter` of a group.
  std::int64_t block(std::int64_t group, std::int64_t filter) const {
    return group * group_size() + filter * positions * channels;
  }
};

// Taps of the window (direct) or places of the Winograd domain.
std::int64_t packed_positions(ConvPath path, std::int64_t taps);

// The inverse of packing for kDirect: result, of the view's sizes and strides.
template <typename T>
void unpack_weight(const WeightView<T>& weight, const T* packed, T* result);

// path: kDirect, kWinograd2 or kWinograd4 (the last two for 3x3 alone).
template <typename T>
void pack_weight(ConvPath path, const WeightView<T>& weight, T* packed);

}  // namespace deeplab
