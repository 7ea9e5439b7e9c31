// The end of a convolution that a plain matrix product made.
#pragma once

#include <cstdint>

namespace deeplab {

// rows [rows, filters] += bias [filters], then max(0, .) if `relu`; a NaN stays
// one. One pass over memory.
template <typename T>
void add_bias_cpu(std::int64_t rows, std::int64_t filters, const T* bias,
                  bool relu, T* values);

}  // namespace deeplab
