// What the lattice's operators do alike on every device.
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

#include "csrc/core/crf/lattice.h"

namespace deeplab {

// A built lattice as lattice_build returns it.
struct LatticeTables {
  at::Tensor vertices;   // [N, d + 1] int32
  at::Tensor weights;    // [N, d + 1]
  at::Tensor neighbors;  // [N (d + 1), d + 1, 2] int32
  at::Tensor entries;    // [N (d + 1)] int32
  at::Tensor offsets;    // [N (d + 1) + 1] int32
  at::Tensor count;      // [1] int64

  LatticeTables contiguous() const {
    return {vertices.contiguous(), weights.contiguous(), neighbors.contiguous(),
            entries.contiguous(),  offsets.contiguous(), count};
  }
};

using LatticeResult = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor,
                                 at::Tensor, at::Tensor>;

void check_features(const char* op, const at::Tensor& features);
void check_entry_count(const char* op, std::int64_t points, std::int64_t d);
[[noreturn]] void refuse_features(const char* op);
void check_lattice_filter(const at::Tensor& values,
                          const LatticeTables& lattice);

// The operator's arguments, as its schema has them, for kRun: what a device
// registers.
template <at::Tensor (*kRun)(const at::Tensor& values,
                             const LatticeTables& lattice, bool reverse)>
at::Tensor lattice_filter_op(const at::Tensor& values,
                             const at::Tensor& vertices,
                             const at::Tensor& weights,
                             const at::Tensor& neighbors,
                             const at::Tensor& entries,
                             const at::Tensor& offsets, const at::Tensor& count,
                             bool reverse) {
  const LatticeTables lattice = {vertices, weights, neighbors,
                                 entries,  offsets, count};
  check_lattice_filter(values, lattice);
  return kRun(values, lattice, reverse);
}

}  // namespace deeplab
