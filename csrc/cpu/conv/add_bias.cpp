#include "csrc/cpu/conv/add_bias.h"

#include <algorithm>

#include "csrc/cpu/parallel.h"

namespace deeplab {

template <typename T>
void add_bias_cpu(std::int64_t rows, std::int64_t filters, const T* bias,
                  bool relu, T* values) {
  constexpr std::int64_t kGrain = std::int64_t{1} << 15;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, filters));
  parallel_for(0, rows, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      T* of_row = values + row * filters;
      if (relu) {
        for (std::int64_t f = 0; f < filters; ++f) {
          const T sum = of_row[f] + bias[f];
          of_row[f] = sum < 0 ? T(0) : sum;
        }
      } else {
        for (std::int64_t f = 0; f < filters; ++f) of_row[f] += bias[f];
      }
    }
  });
}

template void add_bias_cpu(std::int64_t, std::int64_t, const float*, bool,
                           float*);
template void add_bias_cpu(std::int64_t, std::int64_t, const double*, bool,
                           double*);

}  // namespace deeplab
