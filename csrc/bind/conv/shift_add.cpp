// Registrations of shift_add and shift_gather: float32 and float64 on the CPU
// row by row (csrc/cpu/conv/shift_add.h), everything else by the functors of
// csrc/core/conv/shift_add.h.
#include "csrc/cpu/conv/shift_add.h"

#include <ATen/DeviceGuard.h>
#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/SymBool.h>
#include <torch/library.h>

#include <algorithm>

#include "csrc/bind/checks.h"
#include "csrc/bind/conv/for_each_index.h"
#include "csrc/core/conv/shift_add.h"
#include "csrc/core/conv/window.h"

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

// Calls body(geometry, shifts) for as many taps at a time as Shifts holds.
template <typename Body>
void for_each_shifts(const at::Tensor& values, at::IntArrayRef offset_h,
                     at::IntArrayRef offset_w, const Body& body) {
  const auto within_map = [](int64_t offset, int64_t size) {
    // Beyond the map all offsets are alike.
    return static_cast<int32_t>(std::clamp(offset, -size, size));
  };
  ShiftedMaps maps = {values.size(1), values.size(2), values.size(3), 0,
                      values.size(4)};
  TORCH_CHECK(std::max(maps.height, maps.width) <= kMaxWindowValue,
              "shift_add: maps must be at most ", kMaxWindowValue,
              " high and wide, got ", values.sizes());
  for (; maps.first_tap < maps.taps; maps.first_tap += Shifts::kMost) {
    Shifts shifts;
    shifts.count = static_cast<int>(
        std::min<int64_t>(Shifts::kMost, maps.taps - maps.first_tap));
    for (int t = 0; t < shifts.count; ++t) {
      const auto tap = static_cast<size_t>(maps.first_tap + t);
      shifts.h[t] = within_map(offset_h[tap], maps.height);
      shifts.w[t] = within_map(offset_w[tap], maps.width);
    }
    body(maps, shifts);
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
  } else if (offset_h.empty()) {
    maps.zero_();
  } else if (maps.numel() > 0) {
    const at::OptionalDeviceGuard guard(at::device_of(values));
    const at::Tensor dense = values.contiguous();
    AT_DISPATCH_FLOATING_TYPES_AND2(
        at::kHalf, at::kBFloat16, values.scalar_type(), "shift_add", [&] {
          with_type_there<scalar_t>(values, [&](auto value) {
            using T = decltype(value);
            for_each_shifts(
                values, offset_h, offset_w,
                [&](const ShiftedMaps& geometry, const Shifts& shifts) {
                  for_each_index(
                      "shift_add", maps, maps.numel(),
                      ShiftAdd<T>{geometry, shifts, Divider(geometry.filters),
                                  Divider(geometry.width),
                                  Divider(geometry.height),
                                  geometry.first_tap > 0,
                                  const_data_as<T>(dense), data_as<T>(maps)});
                });
          });
        });
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
  } else if (values.numel() > 0) {
    const at::OptionalDeviceGuard guard(at::device_of(maps));
    const at::Tensor last = maps.contiguous(at::MemoryFormat::ChannelsLast);
    AT_DISPATCH_FLOATING_TYPES_AND2(
        at::kHalf, at::kBFloat16, maps.scalar_type(), "shift_gather", [&] {
          with_type_there<scalar_t>(maps, [&](auto value) {
            using T = decltype(value);
            for_each_shifts(
                values, offset_h, offset_w,
                [&](const ShiftedMaps& geometry, const Shifts& shifts) {
                  for_each_index(
                      "shift_gather", maps, maps.numel(),
                      ShiftGather<T>{
                          geometry, shifts, Divider(geometry.filters),
                          Divider(geometry.width), Divider(geometry.height),
                          const_data_as<T>(last), data_as<T>(values)});
                });
          });
        });
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
