// lattice_build and lattice_filter: checks, and the way to the launchers.
#include "csrc/bind/crf/lattice.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include "csrc/bind/checks.h"
#include "csrc/cpu/crf/lattice.h"

namespace deeplab {

void check_features(const char* op, const at::Tensor& features) {
  check_dim(op, "features", features, 2, "[N, d]");
  check_float_or_double(op, "features", features);
  const auto d = features.sym_size(1);
  TORCH_CHECK(d >= 1 && d <= kMaxFeatures, op, ": features must have 1 to ",
              kMaxFeatures, " columns, got ", features.sym_sizes());
}

void check_entry_count(const char* op, std::int64_t points, std::int64_t d) {
  TORCH_CHECK(points < kMaxLatticeEntries / (d + 1), op, ": ", points,
              " points of ", d,
              " features are too many for one lattice; N (d "
              "+ 1) must stay below ",
              kMaxLatticeEntries);
}

[[noreturn]] void refuse_features(const char* op) {
  TORCH_CHECK(false, op,
              ": features must be finite and, in lattice units, within ",
              kMaxCoordinate,
              " of the origin; check for NaN, infinity or a "
              "standard deviation near 0");
}

void check_lattice_filter(const at::Tensor& values, const at::Tensor& vertices,
                          const at::Tensor& weights,
                          const at::Tensor& neighbors,
                          const at::Tensor& entries, const at::Tensor& offsets,
                          const at::Tensor& count) {
  constexpr const char* op = "lattice_filter";
  check_dim(op, "values", values, 2, "[N, C]");
  check_float_or_double(op, "values", values);
  check_same_dtype(op, "values", values, "weights", weights);
  check_same_device(op, "values", values, "weights", weights);
  check_same_device(op, "vertices", vertices, "weights", weights);
  check_same_device(op, "neighbors", neighbors, "weights", weights);
  check_same_device(op, "entries", entries, "weights", weights);
  check_same_device(op, "offsets", offsets, "weights", weights);
  check_dim(op, "vertices", vertices, 2, "[N, d + 1]");
  TORCH_CHECK(vertices.scalar_type() == at::kInt &&
                  neighbors.scalar_type() == at::kInt &&
                  entries.scalar_type() == at::kInt &&
                  offsets.scalar_type() == at::kInt &&
                  count.scalar_type() == at::kLong,
              op,
              ": the lattice must be what lattice_build returned (int32 "
              "tables, int64 count)");
  const auto points = values.sym_size(0);
  const auto corners = vertices.sym_size(1);
  TORCH_CHECK(vertices.sym_size(0) == points, op, ": values have ", points,
              " rows, the lattice has ", vertices.sym_size(0), " points");
  TORCH_CHECK(
      weights.sym_sizes() == vertices.sym_sizes() && neighbors.dim() == 3 &&
          neighbors.sym_size(0) == points * corners &&
          neighbors.sym_size(1) == corners && neighbors.sym_size(2) == 2 &&
          entries.dim() == 1 && entries.sym_size(0) == points * corners &&
          offsets.dim() == 1 && offsets.sym_size(0) == points * corners + 1 &&
          count.sym_numel() == 1,
      op,
      ": the lattice must be what lattice_build returned; its "
      "tensors' sizes do not belong together");
}

namespace {

LatticeTensors allocate(const at::Tensor& features) {
  const std::int64_t points = features.size(0);
  const std::int64_t corners = features.size(1) + 1;
  const std::int64_t entries = points * corners;
  const auto ints = features.options().dtype(at::kInt);
  return {at::empty({points, corners}, ints),
          at::empty({points, corners}, features.options()),
          at::empty({entries, corners, 2}, ints),
          at::empty({entries}, ints),
          at::empty({entries + 1}, ints),
          0};
}

LatticeResult as_result(const LatticeTensors& lattice) {
  return {
      lattice.vertices,
      lattice.weights,
      lattice.neighbors,
      lattice.entries,
      lattice.offsets,
      at::full({1}, lattice.count, lattice.weights.options().dtype(at::kLong))};
}

template <typename scalar_t>
LatticeBuffers<scalar_t> buffers(LatticeTensors& lattice) {
  return {lattice.vertices.mutable_data_ptr<std::int32_t>(),
          lattice.weights.mutable_data_ptr<scalar_t>(),
          lattice.neighbors.mutable_data_ptr<std::int32_t>(),
          lattice.entries.mutable_data_ptr<std::int32_t>(),
          lattice.offsets.mutable_data_ptr<std::int32_t>()};
}

LatticeResult lattice_build_cpu_op(const at::Tensor& features) {
  LatticeTensors lattice = build_lattice_cpu("lattice_build", features);
  const std::int64_t total = lattice.entries.numel();
  lattice.neighbors.narrow(0, lattice.count, total - lattice.count).fill_(-1);
  lattice.offsets.narrow(0, lattice.count, total + 1 - lattice.count)
      .fill_(total);
  return as_result(lattice);
}

LatticeResult lattice_build_meta_op(const at::Tensor& features) {
  check_features("lattice_build", features);
  const auto points = features.sym_size(0);
  const auto corners = features.sym_size(1) + 1;
  const auto entries = points * corners;
  const auto ints = features.options().dtype(at::kInt);
  return {at::empty_symint({points, corners}, ints),
          at::empty_symint({points, corners}, features.options()),
          at::empty_symint({entries, corners, 2}, ints),
          at::empty_symint({entries}, ints),
          at::empty_symint({entries + 1}, ints),
          at::empty({1}, features.options().dtype(at::kLong))};
}

// Tables that came from elsewhere must not make the kernels read outside.
void check_tables(const LatticeTensors& lattice) {
  const std::int64_t total = lattice.entries.numel();
  const auto within = [](const at::Tensor& table, std::int64_t rows,
                         std::int64_t low, std::int64_t high) {
    const at::Tensor used = table.narrow(0, 0, rows);
    if (used.numel() == 0) return true;
    const auto* data = used.const_data_ptr<std::int32_t>();
    for (std::int64_t i = 0; i < used.numel(); ++i) {
      if (data[i] < low || data[i] >= high) return false;
    }
    return true;
  };
  TORCH_CHECK(lattice.count >= 0 && lattice.count <= total &&
                  within(lattice.vertices, lattice.vertices.size(0), 0,
                         lattice.count) &&
                  within(lattice.neighbors, lattice.count, -1, lattice.count) &&
                  within(lattice.entries, total, 0, total) &&
                  within(lattice.offsets, lattice.count + 1, 0, total + 1),
              "lattice_filter: the lattice's tables point outside of it; pass "
              "them as lattice_build returned them");
}

LatticeTensors gather(const at::Tensor& vertices, const at::Tensor& weights,
                      const at::Tensor& neighbors, const at::Tensor& entries,
                      const at::Tensor& offsets, const at::Tensor& count) {
  return {vertices.contiguous(),  weights.contiguous(),
          neighbors.contiguous(), entries.contiguous(),
          offsets.contiguous(),   count.item<std::int64_t>()};
}

at::Tensor lattice_filter_cpu_op(const at::Tensor& values,
                                 const at::Tensor& vertices,
                                 const at::Tensor& weights,
                                 const at::Tensor& neighbors,
                                 const at::Tensor& entries,
                                 const at::Tensor& offsets,
                                 const at::Tensor& count, bool reverse) {
  check_lattice_filter(values, vertices, weights, neighbors, entries, offsets,
                       count);
  const LatticeTensors lattice =
      gather(vertices, weights, neighbors, entries, offsets, count);
  check_tables(lattice);
  const at::Tensor input = values.contiguous();
  at::Tensor out = at::empty(input.sizes(), input.options());
  if (out.numel() == 0) return out;
  AT_DISPATCH_FLOATING_TYPES(input.scalar_type(), "lattice_filter", [&] {
    const auto view = lattice_view<scalar_t>(lattice);
    lattice_filter_cpu(view, blur_chains(view),
                       input.const_data_ptr<scalar_t>(), input.size(1), reverse,
                       out.mutable_data_ptr<scalar_t>());
  });
  return out;
}

at::Tensor lattice_filter_meta_op(const at::Tensor& values,
                                  const at::Tensor& vertices,
                                  const at::Tensor& weights,
                                  const at::Tensor& neighbors,
                                  const at::Tensor& entries,
                                  const at::Tensor& offsets,
                                  const at::Tensor& count, bool /*reverse*/) {
  check_lattice_filter(values, vertices, weights, neighbors, entries, offsets,
                       count);
  return at::empty_symint(values.sym_sizes(), values.options());
}

}  // namespace

LatticeTensors build_lattice_cpu(const char* op, const at::Tensor& features) {
  check_features(op, features);
  const at::Tensor input = features.contiguous();
  check_entry_count(op, input.size(0), input.size(1));
  LatticeTensors lattice = allocate(input);
  AT_DISPATCH_FLOATING_TYPES(input.scalar_type(), "lattice_build", [&] {
    lattice.count = lattice_build_cpu(
        input.const_data_ptr<scalar_t>(), input.size(0),
        static_cast<int>(input.size(1)), buffers<scalar_t>(lattice));
  });
  if (lattice.count < 0) refuse_features(op);
  return lattice;
}

}  // namespace deeplab

TORCH_LIBRARY_IMPL(deeplab, CPU, m) {
  m.impl("lattice_build", &deeplab::lattice_build_cpu_op);
  m.impl("lattice_filter", &deeplab::lattice_filter_cpu_op);
}

TORCH_LIBRARY_IMPL(deeplab, Meta, m) {
  m.impl("lattice_build", &deeplab::lattice_build_meta_op);
  m.impl("lattice_filter", &deeplab::lattice_filter_meta_op);
}
