// Inner loops of the direct and the Winograd convolution, compiled once per
// instruction set and chosen at run time.
#pragma once

#include <cstdint>

#include "csrc/core/conv/plan.h"

namespace deeplab {

// c [m, n] = a b, or c += a b where `accumulate`; row-major, the leading
// dimensions count elements.
template <typename T>
struct TileProduct {
  const T* a;  // [m, k]
  std::int64_t lda;
  const T* b;  // [k, n]
  std::int64_t ldb;
  T* c;  // [m, n]
  std::int64_t ldc;
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
  bool accumulate;
};

// A small matrix product; called from many threads at once.
template <typename T>
using MultiplyTile = void (*)(const TileProduct<T>&);

// A tile's way into or out of the Winograd domain: positions x values where a
// position's values stand `stride` apart.
template <typename T>
struct WinogradRows {
  T* domain;            // position p's values start at domain + p * stride
  std::int64_t stride;  // elements
  std::int64_t values;
};

// Rows of a tile's domain; their positions are numbered from the first of them.
enum DomainPart { kAllRows, kUpperRows, kLowerRows, kDomainParts };

template <typename T>
struct ConvKernels {
  MultiplyTile<T> multiply;
  // Each for m = 2 and m = 4, in this order.
  // samples: (m + 2)^2 pointers to `values` inputs -> domain.
  void (*winograd_input[2][kDomainParts])(const WinogradRows<T>& rows,
                                          const T* const* samples);
  // taps: nine rows of `values` weights, `tap_stride` apart -> domain.
  void (*winograd_weight[2])(const WinogradRows<T>& rows, const T* taps,
                             std::int64_t tap_stride);
  // domain -> outputs: m^2 pointers, null where outside; plus bias (or null),
  // at least 0 where `relu`. Upper rows leave that to the lower ones, which are
  // added to what the outputs hold.
  void (*winograd_output[2][kDomainParts])(const WinogradRows<T>& rows,
                                           const T* bias, bool relu,
                                           T* const* outputs);
};

// Those for the best instruction set in use; float and double.
template <typename T>
const ConvKernels<T>& conv_kernels();

}  // namespace deeplab
