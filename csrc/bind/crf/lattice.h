// A built lattice as tensors, for the operators that filter over it.
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

#include "csrc/core/crf/lattice.h"

namespace deeplab {

struct LatticeTensors {
  at::Tensor vertices;   // [N, d + 1] int32
  at::Tensor weights;    // [N, d + 1]
  at::Tensor neighbors;  // [N (d + 1), d + 1, 2] int32
  at::Tensor entries;    // [N (d + 1)] int32
  at::Tensor offsets;    // [N (d + 1) + 1] int32
  std::int64_t count;    // V
};

// Checks features [N, d] and builds; rows past the count are not written on
// the CPU. Raises where a feature is not finite or too far from the origin.
LatticeTensors build_lattice_cpu(const char* op, const at::Tensor& features);

// Checks and results that the devices share.
using LatticeResult = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor,
                                 at::Tensor, at::Tensor>;
void check_features(const char* op, const at::Tensor& features);
void check_entry_count(const char* op, std::int64_t points, std::int64_t d);
[[noreturn]] void refuse_features(const char* op);
void check_lattice_filter(const at::Tensor& values, const at::Tensor& vertices,
                          const at::Tensor& weights,
                          const at::Tensor& neighbors,
                          const at::Tensor& entries, const at::Tensor& offsets,
                          const at::Tensor& count);

template <typename scalar_t>
LatticeView<scalar_t> lattice_view(const LatticeTensors& lattice) {
  return {lattice.vertices.size(0),
          static_cast<int>(lattice.vertices.size(1)) - 1,
          lattice.count,
          lattice.vertices.const_data_ptr<std::int32_t>(),
          lattice.weights.const_data_ptr<scalar_t>(),
          lattice.neighbors.const_data_ptr<std::int32_t>(),
          lattice.entries.const_data_ptr<std::int32_t>(),
          lattice.offsets.const_data_ptr<std::int32_t>()};
}

}  // namespace deeplab
