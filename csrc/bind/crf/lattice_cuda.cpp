// lattice_build and lattice_filter on CUDA.
#ifdef WITH_CUDA

#include "csrc/bind/crf/lattice_cuda.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <array>

#include "csrc/bind/crf/lattice.h"
#include "csrc/bind/cuda_check.h"
#include "csrc/cuda/crf/lattice.h"

namespace deeplab {

at::Tensor cuda_bytes(std::int64_t bytes, const at::Tensor& like) {
  return at::empty({bytes}, like.options().dtype(at::kByte));
}

template <typename scalar_t>
CudaLattice<scalar_t>::CudaLattice(const char* op, const at::Tensor& features,
                                   bool by_point, std::int64_t* count)
    : op_(op), by_point_(by_point), features_(features.contiguous()) {
  const std::int64_t d = features.size(2);
  const std::int64_t points = features.size(0) * features.size(1);
  const std::int64_t corners = d + 1;
  check_entry_count(op, points, d);
  const auto ints = features.options().dtype(at::kInt);
  const auto shape = by_point ? std::array<std::int64_t, 2>{points, corners}
                              : std::array<std::int64_t, 2>{corners, points};
  vertices = at::empty(shape, ints);
  weights = at::empty(shape, features.options());
  build_.features = features_.template const_data_ptr<scalar_t>();
  build_.points = points;
  build_.image_points = features.size(1);
  build_.d = static_cast<int>(d);
  build_.vertices = vertices.template mutable_data_ptr<std::int32_t>();
  build_.weights = weights.template mutable_data_ptr<scalar_t>();
  build_.point_stride = by_point ? corners : 1;
  build_.corner_stride = by_point ? 1 : points;
  build_.count = count;
  scratch_ = cuda_bytes(lattice_build_bytes(build_), features);
  check_cuda(op, lattice_number_cuda(build_, scratch_.mutable_data_ptr(),
                                     c10::cuda::getCurrentCUDAStream()));
}

template <typename scalar_t>
void CudaLattice<scalar_t>::link(std::int64_t count) {
  if (count < 0) refuse_features(op_);
  const std::int64_t entry_count = build_.entries();
  const std::int64_t corners = build_.d + 1;
  const auto ints = vertices.options();
  if (by_point_) {
    neighbors = at::full({entry_count, corners, 2}, -1, ints);
    offsets = at::full({entry_count + 1}, entry_count, ints);
  } else {
    neighbors = at::empty({corners, count, 2}, ints);
    offsets = at::empty({count + 1}, ints);
  }
  entries = at::empty({entry_count}, ints);
  const at::Tensor sorted = at::empty({entry_count}, ints);
  links_ = {count,
            neighbors.mutable_data_ptr<std::int32_t>(),
            by_point_ ? 2 * corners : 2,
            by_point_ ? 2 : 2 * count,
            sorted.mutable_data_ptr<std::int32_t>(),
            entries.mutable_data_ptr<std::int32_t>(),
            offsets.mutable_data_ptr<std::int32_t>()};
  check_cuda(op_, lattice_link_cuda(build_, links_, scratch_.mutable_data_ptr(),
                                    c10::cuda::getCurrentCUDAStream()));
  links_.sorted_vertices = nullptr;
  scratch_.reset();
}

template <typename scalar_t>
BatchLattice<scalar_t> CudaLattice<scalar_t>::view() {
  const std::int64_t count = links_.vertex_count;
  const auto ints = vertices.options();
  splat_points_ = at::empty({build_.entries()}, ints);
  splat_weights_ = at::empty({build_.entries()}, weights.options());
  piece_offsets_ = at::empty({count + 1}, ints);
  BatchLattice<scalar_t> lattice{
      build_.points,
      build_.d,
      count,
      build_.vertices,
      build_.weights,
      build_.point_stride,
      build_.corner_stride,
      links_.neighbors,
      links_.vertex_stride,
      links_.axis_stride,
      links_.offsets,
      splat_points_.template mutable_data_ptr<std::int32_t>(),
      splat_weights_.template mutable_data_ptr<scalar_t>(),
      piece_offsets_.template mutable_data_ptr<std::int32_t>(),
      nullptr};
  piece_vertices_ = at::empty({lattice.piece_bound()}, ints);
  lattice.piece_vertices =
      piece_vertices_.template mutable_data_ptr<std::int32_t>();
  const at::Tensor scratch = cuda_bytes(splat_list_bytes(lattice), weights);
  check_cuda(
      op_, splat_list_cuda(lattice, links_.entries, scratch.mutable_data_ptr(),
                           c10::cuda::getCurrentCUDAStream()));
  return lattice;
}

template class CudaLattice<float>;
template class CudaLattice<double>;

namespace {

LatticeResult build_cuda(const at::Tensor& features) {
  constexpr const char* op = "lattice_build";
  check_features(op, features);
  const c10::cuda::CUDAGuard guard(features.device());
  const at::Tensor count =
      at::full({1}, 0, features.options().dtype(at::kLong));
  LatticeResult result;
  AT_DISPATCH_FLOATING_TYPES(features.scalar_type(), op, [&] {
    CudaLattice<scalar_t> lattice(op, features.unsqueeze(0), true,
                                  count.mutable_data_ptr<std::int64_t>());
    // The one synchronisation: the memory to allocate depends on the count.
    const std::int64_t vertex_count =
        features.size(0) > 0 ? count.item<std::int64_t>() : 0;
    lattice.link(vertex_count);
    result = {lattice.vertices, lattice.weights, lattice.neighbors,
              lattice.entries,  lattice.offsets, count};
  });
  return result;
}

// The lattice's tables as kernels read them, and a reading list.
template <typename scalar_t>
struct FilterTables {
  LatticeTables tables;
  at::Tensor splat_points, splat_weights, piece_offsets, piece_vertices;
  BatchLattice<scalar_t> view;

  FilterTables(const LatticeTables& lattice, std::int64_t count)
      : tables(lattice.contiguous()) {
    const auto& [vertices, weights, neighbors, entries, offsets, all] = tables;
    splat_points = at::empty(entries.sizes(), entries.options());
    splat_weights = at::empty({entries.numel()}, weights.options());
    piece_offsets = at::empty({count + 1}, entries.options());
    const std::int64_t corners = vertices.size(1);
    view = {vertices.size(0),
            static_cast<int>(corners) - 1,
            count,
            vertices.template const_data_ptr<std::int32_t>(),
            weights.template const_data_ptr<scalar_t>(),
            corners,
            1,
            neighbors.template const_data_ptr<std::int32_t>(),
            2 * corners,
            2,
            offsets.template const_data_ptr<std::int32_t>(),
            splat_points.template mutable_data_ptr<std::int32_t>(),
            splat_weights.template mutable_data_ptr<scalar_t>(),
            piece_offsets.template mutable_data_ptr<std::int32_t>(),
            nullptr};
    piece_vertices = at::empty({view.piece_bound()}, entries.options());
    view.piece_vertices =
        piece_vertices.template mutable_data_ptr<std::int32_t>();
  }
};

at::Tensor filter_cuda(const at::Tensor& values, const LatticeTables& lattice,
                       bool reverse) {
  constexpr const char* op = "lattice_filter";
  const c10::cuda::CUDAGuard guard(values.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const at::Tensor input = values.contiguous();
  at::Tensor out = at::empty(input.sizes(), input.options());
  if (out.numel() == 0) return out;
  const std::int64_t vertex_count = lattice.count.item<std::int64_t>();
  TORCH_CHECK(vertex_count >= 0 && vertex_count <= lattice.entries.numel(), op,
              ": the lattice's count is ", vertex_count, " of ",
              lattice.entries.numel(),
              " entries; pass its tensors as lattice_build returned them");
  AT_DISPATCH_FLOATING_TYPES(input.scalar_type(), op, [&] {
    const FilterTables<scalar_t> tables(lattice, vertex_count);
    const std::int64_t channels = input.size(1);
    const at::Tensor list_scratch =
        cuda_bytes(splat_list_bytes(tables.view), input);
    check_cuda(
        op, splat_list_cuda(
                tables.view,
                tables.tables.entries.template const_data_ptr<std::int32_t>(),
                list_scratch.mutable_data_ptr(), stream));
    const at::Tensor scratch =
        cuda_bytes(lattice_filter_bytes(tables.view, channels), input);
    check_cuda(
        op, lattice_filter_cuda(tables.view, input.const_data_ptr<scalar_t>(),
                                channels, reverse, scratch.mutable_data_ptr(),
                                out.mutable_data_ptr<scalar_t>(), stream));
  });
  return out;
}

}  // namespace
}  // namespace deeplab

TORCH_LIBRARY_IMPL(deeplab, CUDA, m) {
  m.impl("lattice_build", &deeplab::build_cuda);
  m.impl("lattice_filter", &deeplab::lattice_filter_op<deeplab::filter_cuda>);
}

#endif  // WITH_CUDA
