// The head of a score map summed over shifted maps, and its adjoint. values:
// [N, H, W, T, F]; maps: [N, H, W, F]; tap t of output (y, x) is met at
// (y + offset_h[t], x + offset_w[t]), nothing where that lies outside.
#pragma once

#include <cstdint>

namespace deeplab {

struct ShiftedTaps {
  std::int64_t batch;
  std::int64_t height;
  std::int64_t width;
  std::int64_t taps;
  std::int64_t filters;
  const std::int64_t* offset_h;  // [T]
  const std::int64_t* offset_w;
};

// maps = sum over taps of the values met.
template <typename T>
void shift_add_cpu(const ShiftedTaps& taps, const T* values, T* maps);

// values = the maps' values where the tap meets an output, else 0.
template <typename T>
void shift_gather_cpu(const ShiftedTaps& taps, const T* maps, T* values);

}  // namespace deeplab
