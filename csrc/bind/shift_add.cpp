// Registrations of shift_add and shift_gather: float32 and float64 on the CPU
// by our kernels, everything else by torch's ops.
#include "csrc/cpu/shift_add.h"

#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/SymBool.h>
#include <torch/library.h>

#include <algorithm>

#include "csrc/bind/checks.h"

namespace deeplab {
namespace {

using c10::SymInt;

void check_offsets(const char* op, at::IntArrayRef offset_h,
                   at::IntArrayRef offset_w) {
  TORCH_CHECK(offset_h.size() == offset_w.size(), op,
              ": offsets must come in pairs, got ", offset_h.size(), " and ",
              offset_w.size());
}

void check_values(const at::Tensor& values, at::IntArrayRef offset_h,
                  at::IntArrayRef offset_w) {
  check_offsets("shift_add", offset_h, offset_w);
  check_dim("shift_add", "values", values, 5, "[N, H, W, T, F]");
  TORCH_CHECK(at::isFloatingType(values.scalar_type()),
              "shift_add: values must be floating point, got ",
              values.scalar_type());
  TORCH_SYM_CHECK(
      values.sym_size(3).sym_eq(SymInt(static_cast<int64_t>(offset_h.size()))),
      "shift_add: values must have one row per offset (", offset_h.size(),
      "), got ", values.sym_sizes());
}

void check_maps(const at::Tensor& maps, at::IntArrayRef offset_h,
                at::IntArrayRef offset_w) {
  check_offsets("shift_gather", offset_h, offset_w);
  check_dim("shift_gather", "maps", maps, 4, "[N, F, H, W]");
  TORCH_CHECK(at::isFloatingType(maps.scalar_type()),
              "shift_gather: maps must be floating point, got ",
              maps.scalar_type());
}

at::Tensor empty_maps(const at::Tensor& values) {
  return at::empty_symint({values.sym_size(0), values.sym_size(4),
                           values.sym_size(1), values.sym_size(2)},
                          values.options(), at::MemoryFormat::ChannelsLast);
}

at::Tensor empty_values(const at::Tensor& maps, int64_t taps) {
  return at::empty_symint({maps.sym_size(0), maps.sym_size(2), maps.sym_size(3),
                           taps, maps.sym_size(1)},
                          maps.options());
}

bool has_kernel(const at::Tensor& tensor) {
  return tensor.is_cpu() && (tensor.scalar_type() == at::kFloat ||
                             tensor.scalar_type() == at::kDouble);
}

// Where outputs and what they meet overlap along one axis.
struct Overlap {
  Overlap(int64_t size, int64_t offset)
      : output(std::min(size, std::max<int64_t>(0, -offset))),
        length(std::max<int64_t>(0, size - std::abs(offset))),
        met(output + offset) {}

  int64_t output;
  int64_t length;
  int64_t met;
};

// Calls body(part of maps [N, h, w, F], part of values [N, h, w, F]) per tap.
template <typename Body>
void for_each_overlap(const at::Tensor& maps, const at::Tensor& values,
                      at::IntArrayRef offset_h, at::IntArrayRef offset_w,
                      const Body& body) {
  const at::Tensor last = maps.permute({0, 2, 3, 1});
  for (size_t t = 0; t < offset_h.size(); ++t) {
    const Overlap h(last.size(1), offset_h[t]);
    const Overlap w(last.size(2), offset_w[t]);
    if (h.length == 0 || w.length == 0) continue;
    body(last.narrow(1, h.output, h.length).narrow(2, w.output, w.length),
         values.select(3, static_cast<int64_t>(t))
             .narrow(1, h.met, h.length)
             .narrow(2, w.met, w.length));
  }
}

ShiftedTaps shifted_taps(const at::Tensor& values, at::IntArrayRef offset_h,
                         at::IntArrayRef offset_w) {
  return {values.size(0), values.size(1),  values.size(2), values.size(3),
          values.size(4), offset_h.data(), offset_w.data()};
}

at::Tensor shift_add(const at::Tensor& values, at::IntArrayRef offset_h,
                     at::IntArrayRef offset_w) {
  check_values(values, offset_h, offset_w);
  const at::Tensor maps = empty_maps(values);
  if (has_kernel(values)) {
    const at::Tensor dense = values.contiguous();
    AT_DISPATCH_FLOATING_TYPES(values.scalar_type(), "shift_add", [&] {
      shift_add_cpu(shifted_taps(dense, offset_h, offset_w),
                    dense.const_data_ptr<scalar_t>(),
                    maps.data_ptr<scalar_t>());
    });
  } else {
    maps.zero_();
    for_each_overlap(
        maps, values, offset_h, offset_w,
        [](const at::Tensor& sums, const at::Tensor& met) { sums.add_(met); });
  }
  return maps;
}

at::Tensor shift_gather(const at::Tensor& maps, at::IntArrayRef offset_h,
                        at::IntArrayRef offset_w) {
  check_maps(maps, offset_h, offset_w);
  const at::Tensor values =
      empty_values(maps, static_cast<int64_t>(offset_h.size()));
  if (has_kernel(maps)) {
    const at::Tensor last = maps.contiguous(at::MemoryFormat::ChannelsLast);
    AT_DISPATCH_FLOATING_TYPES(maps.scalar_type(), "shift_gather", [&] {
      shift_gather_cpu(shifted_taps(values, offset_h, offset_w),
                       last.const_data_ptr<scalar_t>(),
                       values.data_ptr<scalar_t>());
    });
  } else {
    values.zero_();
    for_each_overlap(
        maps, values, offset_h, offset_w,
        [](const at::Tensor& sums, const at::Tensor& met) { met.copy_(sums); });
  }
  return values;
}

at::Tensor shift_add_meta(const at::Tensor& values, at::IntArrayRef offset_h,
                          at::IntArrayRef offset_w) {
  check_values(values, offset_h, offset_w);
  return empty_maps(values);
}

at::Tensor shift_gather_meta(const at::Tensor& maps, at::IntArrayRef offset_h,
                             at::IntArrayRef offset_w) {
  check_maps(maps, offset_h, offset_w);
  return empty_values(maps, static_cast<int64_t>(offset_h.size()));
}

}  // namespace

TORCH_LIBRARY_IMPL(deeplab, CPU, m) {
  m.impl("shift_add", &shift_add);
  m.impl("shift_gather", &shift_gather);
}

TORCH_LIBRARY_IMPL(deeplab, CUDA, m) {
  m.impl("shift_add", &shift_add);
  m.impl("shift_gather", &shift_gather);
}

TORCH_LIBRARY_IMPL(deeplab, Meta, m) {
  m.impl("shift_add", &shift_add_meta);
  m.impl("shift_gather", &shift_gather_meta);
}

}  // namespace deeplab
