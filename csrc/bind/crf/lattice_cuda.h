// A lattice of a batch on a CUDA device, with the memory it stands in.
#pragma once

#include <ATen/core/Tensor.h>
#include <cuda_runtime_api.h>

#include "csrc/core/crf/batch/sequence.h"

namespace deeplab {

// Built in two steps, since what the second one allocates depends on the number
// of vertices the first one finds. Memory comes from torch's allocator, for use
// on the stream that is current.
template <typename scalar_t>
class CudaLattice {
 public:
  // features [images, points, d]. Numbers the vertices and writes their count
  // to `count`, a place in device memory; -1 where a feature is out of range.
  // by_point: tables in the layout of the operator lattice_build, else in the
  // one that threads read best.
  CudaLattice(const char* op, const at::Tensor& features, bool by_point,
              std::int64_t* count);

  // With the vertices' count known.
  void link(std::int64_t count);
  // After link: makes the splat's reading list.
  BatchLattice<scalar_t> view();

  at::Tensor vertices, weights, neighbors, entries, offsets;

 private:
  const char* op_;
  bool by_point_;
  at::Tensor features_, scratch_, splat_points_, splat_weights_, piece_offsets_,
      piece_vertices_;
  BatchBuild<scalar_t> build_{};
  BatchLinks links_{};
};

// Bytes of memory on `like`'s device.
at::Tensor cuda_bytes(std::int64_t bytes, const at::Tensor& like);

}  // namespace deeplab
