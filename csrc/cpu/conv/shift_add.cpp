#include "csrc/cpu/conv/shift_add.h"

#include <algorithm>

#include "csrc/cpu/parallel.h"

namespace deeplab {

template <typename T>
void shift_add_cpu(const ShiftedTaps& taps, const T* values, T* maps) {
  const std::int64_t row_size = taps.width * taps.filters;
  parallel_for(
      0, taps.batch * taps.height, 1,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
          T* to = maps + row * row_size;
          std::fill_n(to, row_size, T(0));
          const std::int64_t y = row % taps.height;
          for (std::int64_t t = 0; t < taps.taps; ++t) {
            const std::int64_t source = y + taps.offset_h[t];
            if (source < 0 || source >= taps.height) continue;
            const std::int64_t shift = taps.offset_w[t];
            const std::int64_t first = std::max<std::int64_t>(0, -shift);
            const std::int64_t last = std::min(taps.width, taps.width - shift);
            const T* from =
                values + (row + taps.offset_h[t]) * row_size * taps.taps;
            for (std::int64_t x = first; x < last; ++x) {
              const T* met =
                  from + ((x + shift) * taps.taps + t) * taps.filters;
              T* sum = to + x * taps.filters;
              for (std::int64_t f = 0; f < taps.filters; ++f) sum[f] += met[f];
            }
          }
        }
      });
}

template <typename T>
void shift_gather_cpu(const ShiftedTaps& taps, const T* maps, T* values) {
  const std::int64_t row_size = taps.width * taps.filters;
  parallel_for(0, taps.batch * taps.height, 1,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t row = begin; row < end; ++row) {
                   const std::int64_t y = row % taps.height;
                   T* to = values + row * row_size * taps.taps;
                   for (std::int64_t x = 0; x < taps.width; ++x) {
                     for (std::int64_t t = 0; t < taps.taps; ++t) {
                       const std::int64_t out_y = y - taps.offset_h[t];
                       const std::int64_t out_x = x - taps.offset_w[t];
                       const bool meets = out_y >= 0 && out_y < taps.height &&
                                          out_x >= 0 && out_x < taps.width;
                       if (meets) {
                         const T* from = maps +
                                         (row - taps.offset_h[t]) * row_size +
                                         out_x * taps.filters;
                         to = std::copy_n(from, taps.filters, to);
                       } else {
                         to = std::fill_n(to, taps.filters, T(0));
                       }
                     }
                   }
                 }
               });
}

#define DEEPLAB_INSTANTIATE(T)                                   \
  template void shift_add_cpu(const ShiftedTaps&, const T*, T*); \
  template void shift_gather_cpu(const ShiftedTaps&, const T*, T*);

DEEPLAB_INSTANTIATE(float)
DEEPLAB_INSTANTIATE(double)

#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
