#include "csrc/bind/conv/packed.h"

#include <ATen/Dispatch.h>
#include <ATen/native/CPUBlas.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <utility>

#include "csrc/bind/checks.h"
#include "csrc/bind/conv/atrous.h"
#include "csrc/cpu/buffer.h"
#include "csrc/cpu/capability.h"
#include "csrc/cpu/conv/pack.h"
#include "csrc/cpu/conv/packed.h"

namespace deeplab {
namespace {

using c10::SymInt;

void multiply_by_brgemm(const TileProduct<float>& p) {
  at::native::cpublas::brgemm(p.m, p.n, p.k, p.lda, p.ldb, p.ldc, p.accumulate,
                              p.a, p.b, p.c, /*is_vnni=*/false);
}

// oneDNN's batch-reduce kernel, which it generates for each size; our own where
// it has none: without AVX2, and for double.
template <typename T>
MultiplyTile<T> tile_multiply() {
  return conv_kernels<T>().multiply;
}
template <>
MultiplyTile<float> tile_multiply<float>() {
  return capability() == Capability::kPlain ? conv_kernels<float>().multiply
                                            : multiply_by_brgemm;
}

// The view of a contiguous or strided weight; data stays null.
template <typename T>
WeightView<T> weight_view(const at::Tensor& weight, int64_t groups) {
  const int64_t filters = weight.size(0) / groups;
  return {nullptr,
          groups,
          filters,
          weight.size(1),
          weight.size(2),
          weight.size(3),
          {filters * weight.stride(0), weight.stride(0), weight.stride(1),
           weight.stride(2), weight.stride(3)}};
}

at::Tensor pack_view(const at::Tensor& weight, int64_t groups, ConvPath path,
                     bool mirrored) {
  const int64_t taps = weight.size(2) * weight.size(3);
  const at::Tensor packed = at::empty(
      {packed_positions(path, taps) * weight.size(0) * weight.size(1)},
      weight.options());
  if (packed.numel() == 0) return packed;
  AT_DISPATCH_FLOATING_TYPES(weight.scalar_type(), "atrous_conv2d_pack", [&] {
    WeightView<scalar_t> view = weight_view<scalar_t>(weight, groups);
    view.data = weight.const_data_ptr<scalar_t>();
    if (mirrored) {
      std::swap(view.filters, view.channels);
      std::swap(view.strides[1], view.strides[2]);
      view.data += (view.kernel_h - 1) * view.strides[3] +
                   (view.kernel_w - 1) * view.strides[4];
      view.strides[3] *= -1;
      view.strides[4] *= -1;
    }
    // Every call streams through all of it.
    advise_huge_pages(packed.data_ptr(), packed.nbytes());
    pack_weight(path, view, packed.data_ptr<scalar_t>());
  });
  return packed;
}

at::Tensor weight_gradient(const Conv2dCall& call, const Conv2dShape& shape,
                           const at::Tensor& grad) {
  const at::Tensor& weight = call.weight;
  const at::Tensor& input = call.input;
  const at::Tensor result =
      at::empty(weight.sizes(), weight.options(),
                result_format(ConvMethod::kDirect, weight));
  if (shape.batch == 0) return result.zero_();
  const at::Tensor grads = grad.contiguous(at::MemoryFormat::ChannelsLast);
  AT_DISPATCH_FLOATING_TYPES(input.scalar_type(), "atrous_conv2d", [&] {
    conv_weight_gradient_cpu<scalar_t>(
        {shape,
         input.const_data_ptr<scalar_t>(),
         {input.stride(0), input.stride(1), input.stride(2), input.stride(3)},
         grads.const_data_ptr<scalar_t>(),
         weight_view<scalar_t>(result, shape.groups),
         result.data_ptr<scalar_t>(),
         tile_multiply<scalar_t>()});
  });
  return result;
}

// Where our weight gradient beats oneDNN's: it skips samples of the padding,
// which counts at large rates, and its products are as wide as there are
// filters. Pointwise and grouped ones have too little of either (measured on
// two cores with AVX2, benchmarks/NOTES.md).
bool makes_weight_gradient(ConvMethod method, const at::Tensor& input,
                           const Conv2dShape& shape) {
  constexpr int64_t kThin = 16, kWide = 64, kLargeRate = 3;
  const auto& [h, w] = shape.window;
  if (h.stride != 1 || w.stride != 1) return false;
  if (method != ConvMethod::kAuto && method != ConvMethod::kFast) return true;
  if (input.scalar_type() != at::kFloat || shape.groups > 1 ||
      shape.filters < kThin || shape.channels < kThin ||
      shape.window.taps() == 1) {
    return false;
  }
  return std::min(h.dilation, w.dilation) >= kLargeRate ||
         shape.filters >= std::max(kWide, shape.channels);
}

}  // namespace

at::Tensor pack_weight(const at::Tensor& weight, int64_t groups,
                       ConvPath path) {
  return pack_view(weight, groups, path, false);
}

at::Tensor pack_mirrored_weight(const at::Tensor& weight, int64_t groups,
                                ConvPath path) {
  return pack_view(weight, groups, path, true);
}

at::Tensor run_packed(ConvPath path, const Conv2dShape& shape,
                      const at::Tensor& input, const at::Tensor& packed,
                      const std::optional<at::Tensor>& bias, bool relu) {
  const at::Tensor images = input.contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor biases = bias ? bias->contiguous() : at::Tensor();
  const at::Tensor output =
      at::empty({shape.batch, shape.filters, shape.window.h.output,
                 shape.window.w.output},
                input.options(), at::MemoryFormat::ChannelsLast);
  AT_DISPATCH_FLOATING_TYPES(input.scalar_type(), "atrous_conv2d", [&] {
    const PackedConv<scalar_t> conv = {
        shape,
        images.const_data_ptr<scalar_t>(),
        packed.const_data_ptr<scalar_t>(),
        biases.defined() ? biases.const_data_ptr<scalar_t>() : nullptr,
        relu,
        output.data_ptr<scalar_t>(),
        tile_multiply<scalar_t>()};
    if (path == ConvPath::kDirect) {
      conv_direct_cpu(conv);
    } else {
      conv_winograd_cpu(conv, winograd_tile(path));
    }
  });
  return output;
}

Gradients packed_conv2d_backward(const Conv2dCall& call,
                                 const Conv2dShape& shape,
                                 const at::Tensor& grad,
                                 std::array<bool, 3> output_mask) {
  Gradients result;
  const bool unit_stride =
      shape.window.h.stride == 1 && shape.window.w.stride == 1;
  if (output_mask[0] && unit_stride) {
    const Conv2dShape mirrored = mirrored_shape(shape);
    const ConvPath path = choose_path(call.method, grad, mirrored, false);
    if (path != ConvPath::kLibrary) {
      const at::Tensor packed =
          pack_mirrored_weight(call.weight, shape.groups, path);
      std::get<0>(result) =
          run_packed(path, mirrored, grad, packed, std::nullopt, false)
              .contiguous(result_format(call.method, call.input));
      output_mask[0] = false;
    }
  }
  if (output_mask[1] && makes_weight_gradient(call.method, grad, shape)) {
    std::get<1>(result) = weight_gradient(call, shape, grad);
    output_mask[1] = false;
  }
  complete_gradients(call, grad, output_mask, result);
  return result;
}

namespace {

at::Tensor pack_cpu_kernel(const at::Tensor& weight, SymInt groups,
                           c10::string_view method) {
  const ConvPath path =
      check_pack("atrous_conv2d_pack", weight, groups, method);
  return pack_weight(weight.to(compute_type(weight)), groups.expect_int(),
                     path);
}

at::Tensor pack_meta(const at::Tensor& weight, SymInt groups,
                     c10::string_view method) {
  const ConvPath path =
      check_pack("atrous_conv2d_pack", weight, groups, method);
  return at::empty_symint({packed_size(weight, path)},
                          weight.options().dtype(compute_type(weight)));
}

at::Tensor packed_cpu_kernel(const Conv2dCall& call, const at::Tensor& packed,
                             ConvPath path) {
  const at::ScalarType type = compute_type(call.input);
  const std::optional<at::Tensor> bias =
      call.bias ? std::optional(call.bias->to(type)) : std::nullopt;
  return run_packed(path, call.shape(), call.input.to(type),
                    packed.contiguous(), bias, call.relu)
      .to(call.input.scalar_type())
      .contiguous(result_format(call.method, call.input));
}

at::Tensor packed_meta(const Conv2dCall& call, const at::Tensor&, ConvPath) {
  return at::empty_symint(call.output_sizes(), call.input.options(),
                          result_format(call.method, call.input));
}

}  // namespace

TORCH_LIBRARY_IMPL(deeplab, CPU, m) {
  m.impl("atrous_conv2d_pack", &pack_cpu_kernel);
  m.impl("atrous_conv2d_packed", &conv2d_packed_op<packed_cpu_kernel>);
}

TORCH_LIBRARY_IMPL(deeplab, Meta, m) {
  m.impl("atrous_conv2d_pack", &pack_meta);
  m.impl("atrous_conv2d_packed", &conv2d_packed_op<packed_meta>);
}

}  // namespace deeplab
