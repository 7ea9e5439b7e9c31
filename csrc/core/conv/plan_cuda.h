// The cost model of convolutions on a GPU, in nanoseconds. Its constants are
// estimates for an H200, from the products and copies that torch was seen to
// make there; no time of any way below has been fitted. Other GPUs have other
// rates but similar ratios, and only ratios choose.
//
//   library   one product of all taps, those that meet padding included;
//   direct    one product per region (core/conv/regions.h), its samples written
//   and
//             read, its results written and read once more;
//   F(m, 3)   (m + 2)^2 products of all tiles, samples and results likewise.
#pragma once

#include <cstdint>

#include "csrc/core/conv/plan.h"
#include "csrc/core/conv/window.h"

namespace deeplab {

enum class ProductKind { kFloat32, kTf32, kReduced };

struct CudaConditions {
  ProductKind ours;
  ProductKind library;
  std::int64_t item_size;      // bytes
  std::int64_t scratch_bytes;  // samples and results held at a time
  bool packed;
  bool channels_last;  // input and output are
};

class CudaConvCost {
 public:
  CudaConvCost(const Conv2dShape& shape, const CudaConditions& conditions)
      : shape_(shape),
        conditions_(conditions),
        channels_(static_cast<double>(shape.channels / shape.groups)),
        filters_(static_cast<double>(shape.group_filters())) {}

  double of(ConvPath path) const;

 private:
  double product(ProductKind kind, double rows, double depth,
                 double count) const;
  double parts(double bytes) const;
  double groups() const;
  double item() const;
  double packing(double elements) const;
  double layout_changes() const;
  double library() const;
  double direct() const;
  double winograd(std::int64_t tile) const;

  const Conv2dShape& shape_;
  CudaConditions conditions_;
  double channels_;  // of a group
  double filters_;   // of a group
};

}  // namespace deeplab
