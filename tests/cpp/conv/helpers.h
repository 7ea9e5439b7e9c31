// What the tests of convolution share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "csrc/cpu/conv/im2col.h"

namespace deeplab {

using Values = std::vector<double>;

inline Values random_values(std::int64_t size, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> draw(-1, 1);
  Values values(static_cast<std::size_t>(size));
  for (double& value : values) value = draw(generator);
  return values;
}

// A product by its definition.
inline void multiply_plainly(const MatrixProduct<double>& p) {
  for (std::int64_t i = 0; i < p.m; ++i) {
    for (std::int64_t j = 0; j < p.n; ++j) {
      double sum = p.accumulate ? p.c[i * p.n + j] : 0;
      for (std::int64_t l = 0; l < p.k; ++l) {
        sum += (p.a_transposed ? p.a[l * p.m + i] : p.a[i * p.k + l]) *
               (p.b_transposed ? p.b[j * p.k + l] : p.b[l * p.n + j]);
      }
      p.c[i * p.n + j] = sum;
    }
  }
}

}  // namespace deeplab
