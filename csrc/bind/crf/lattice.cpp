// lattice_build and lattice_filter: checks, and the way to the launchers.
#include "csrc/bind/crf/lattice.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
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

void check_lattice_filter(const at::Tensor& values,
                          const LatticeTables& lattice) {
  const auto& [vertices, weights, neighbors, entries, offsets, count] = lattice;
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

LatticeResult build_cpu(const at::Tensor& features) {
  constexpr const char* op = "lattice_build";
  check_features(op, features);
  const at::Tensor input = features.contiguous();
  const std::int64_t points = input.size(0);
  const std::int64_t corners = input.size(1) + 1;
  check_entry_count(op, points, input.size(1));
  const std::int64_t total = points * corners;
  const auto ints = input.options().dtype(at::kInt);
  const at::Tensor vertices = at::empty({points, corners}, ints);
  const at::Tensor weights = at::empty({points, corners}, input.options());
  const at::Tensor neighbors = at::empty({total, corners, 2}, ints);
  const at::Tensor entries = at::empty({total}, ints);
  const at::Tensor offsets = at::empty({total + 1}, ints);
  std::int64_t count = 0;
  AT_DISPATCH_FLOATING_TYPES(input.scalar_type(), op, [&] {
    count = lattice_build_cpu(input.const_data_ptr<scalar_t>(), points,
                              static_cast<int>(input.size(1)),
                              {vertices.mutable_data_ptr<std::int32_t>(),
                               weights.mutable_data_ptr<scalar_t>(),
                               neighbors.mutable_data_ptr<std::int32_t>(),
                               entries.mutable_data_ptr<std::int32_t>(),
                               offsets.mutable_data_ptr<std::int32_t>()});
  });
  if (count < 0) refuse_features(op);
  neighbors.narrow(0, count, total - count).fill_(-1);
  offsets.narrow(0, count, total + 1 - count).fill_(total);
  return {vertices, weights, neighbors,
          entries,  offsets, at::full({1}, count, ints.dtype(at::kLong))};
}

LatticeResult build_meta(const at::Tensor& features) {
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
void check_inside(const LatticeTables& lattice, std::int64_t count) {
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
  TORCH_CHECK(
      count >= 0 && count <= total &&
          within(lattice.vertices, lattice.vertices.size(0), 0, count) &&
          within(lattice.neighbors, count, -1, count) &&
          within(lattice.entries, total, 0, total) &&
          within(lattice.offsets, count + 1, 0, total + 1),
      "lattice_filter: the lattice's tables point outside of it; pass "
      "them as lattice_build returned them");
}

at::Tensor filter_cpu(const at::Tensor& values, const LatticeTables& lattice,
                      bool reverse) {
  const LatticeTables tables = lattice.contiguous();
  const auto count = tables.count.item<std::int64_t>();
  check_inside(tables, count);
  const at::Tensor input = values.contiguous();
  at::Tensor out = at::empty(input.sizes(), input.options());
  if (out.numel() == 0) return out;
  AT_DISPATCH_FLOATING_TYPES(input.scalar_type(), "lattice_filter", [&] {
    const LatticeView<scalar_t> view = {
        tables.vertices.size(0),
        static_cast<int>(tables.vertices.size(1)) - 1,
        count,
        tables.vertices.const_data_ptr<std::int32_t>(),
        tables.weights.const_data_ptr<scalar_t>(),
        tables.neighbors.const_data_ptr<std::int32_t>(),
        tables.entries.const_data_ptr<std::int32_t>(),
        tables.offsets.const_data_ptr<std::int32_t>()};
    lattice_filter_cpu(view, blur_chains(view),
                       input.const_data_ptr<scalar_t>(), input.size(1), reverse,
                       out.mutable_data_ptr<scalar_t>());
  });
  return out;
}

at::Tensor filter_meta(const at::Tensor& values, const LatticeTables&,
                       bool /*reverse*/) {
  return at::empty_symint(values.sym_sizes(), values.options());
}

}  // namespace
}  // namespace deeplab

TORCH_LIBRARY_IMPL(deeplab, CPU, m) {
  m.impl("lattice_build", &deeplab::build_cpu);
  m.impl("lattice_filter", &deeplab::lattice_filter_op<deeplab::filter_cpu>);
}

TORCH_LIBRARY_IMPL(deeplab, Meta, m) {
  m.impl("lattice_build", &deeplab::build_meta);
  m.impl("lattice_filter", &deeplab::lattice_filter_op<deeplab::filter_meta>);
}
