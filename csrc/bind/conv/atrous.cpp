// CPU and Meta registrations of im2col, col2im and atrous_conv2d.
#include "csrc/bind/conv/atrous.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mm.h>
#include <torch/library.h>

#include <new>

#include "csrc/bind/checks.h"
#include "csrc/bind/conv/packed.h"
#include "csrc/cpu/conv/im2col.h"

namespace deeplab {
namespace {

using c10::SymIntArrayRef;

at::Tensor empty_like_input(const at::Tensor& input, SymIntArrayRef sizes,
                            at::MemoryFormat format) {
  return at::empty_symint(sizes, input.options(), format);
}

at::Tensor columns_for(const at::Tensor& input, const SymPair& output,
                       SymIntArrayRef kernel) {
  return empty_like_input(
      input,
      {input.sym_size(0), input.sym_size(1) * kernel[0] * kernel[1],
       output[0] * output[1]},
      at::MemoryFormat::Contiguous);
}

at::Tensor images_for(const at::Tensor& columns, SymIntArrayRef size,
                      SymIntArrayRef kernel) {
  return empty_like_input(
      columns,
      {columns.sym_size(0), columns.sym_size(1) / (kernel[0] * kernel[1]),
       size[0], size[1]},
      at::MemoryFormat::Contiguous);
}

template <typename T>
at::Tensor matrix_view(const T* data, int64_t rows, int64_t columns,
                       bool transposed) {
  const auto options = at::dtype(c10::CppTypeToScalarType<T>::value);
  T* values = const_cast<T*>(data);
  return transposed ? at::from_blob(values, {columns, rows}, options).t()
                    : at::from_blob(values, {rows, columns}, options);
}

template <typename T>
void multiply_with_torch(const MatrixProduct<T>& product) {
  const at::Tensor a =
      matrix_view(product.a, product.m, product.k, product.a_transposed);
  const at::Tensor b =
      matrix_view(product.b, product.k, product.n, product.b_transposed);
  at::Tensor c = matrix_view(product.c, product.m, product.n, false);
  if (product.accumulate) {
    c.addmm_(a, b);
  } else {
    at::mm_out(c, a, b);
  }
}

template <typename Function>
void with_memory_for_columns(const Conv2dCall& call, const Conv2dShape& shape,
                             const Function& function) {
  try {
    function();
  } catch (const std::bad_alloc&) {
    TORCH_CHECK(false, call.op, ": no memory for one image's columns (",
                shape.columns_size(), " elements of ", call.input.scalar_type(),
                "); method 'library' does without");
  }
}

at::Tensor im2col_cpu_kernel(const at::Tensor& input, SymIntArrayRef kernel,
                             SymIntArrayRef stride, SymIntArrayRef padding,
                             SymIntArrayRef dilation) {
  const WindowArguments arguments = {kernel, stride, padding, dilation};
  const SymPair output = check_im2col("im2col", input, arguments);
  const int64_t planes = input.size(0) * input.size(1);
  const Window2d window =
      make_window("im2col", planes, input.size(2), input.size(3), arguments);
  const at::Tensor columns = columns_for(input, output, kernel);
  const at::Tensor images = input.contiguous();
  AT_DISPATCH_FLOATING_TYPES(input.scalar_type(), "im2col", [&] {
    im2col_cpu(window, planes, images.const_data_ptr<scalar_t>(),
               columns.data_ptr<scalar_t>());
  });
  return columns;
}

at::Tensor col2im_cpu_kernel(const at::Tensor& columns, SymIntArrayRef size,
                             SymIntArrayRef kernel, SymIntArrayRef stride,
                             SymIntArrayRef padding, SymIntArrayRef dilation) {
  const WindowArguments arguments = {kernel, stride, padding, dilation};
  check_col2im("col2im", columns, size, arguments);
  const at::Tensor images = images_for(columns, size, kernel);
  const int64_t planes = images.size(0) * images.size(1);
  const Window2d window =
      make_window("col2im", planes, size[0], size[1], arguments);
  const at::Tensor dense = columns.contiguous();
  AT_DISPATCH_FLOATING_TYPES(columns.scalar_type(), "col2im", [&] {
    col2im_cpu(window, planes, dense.const_data_ptr<scalar_t>(),
               images.data_ptr<scalar_t>());
  });
  return images;
}

at::Tensor atrous_conv2d_cpu_kernel(const Conv2dCall& call) {
  const at::Tensor& input = call.input;
  if (widens(call.method, input)) {
    return atrous_conv2d_cpu_kernel(call.to(at::kFloat))
        .to(input.scalar_type());
  }
  const Conv2dShape shape = call.shape();
  const ConvPath path = choose_path(call.method, input, shape, false);
  if (path == ConvPath::kLibrary) return library_conv2d(call);
  if (path == ConvPath::kInterlace) return interlaced_conv2d(call);
  if (path != ConvPath::kIm2col) {
    return run_packed(path, shape, input,
                      pack_weight(call.weight, shape.groups, path), call.bias,
                      false)
        .contiguous(result_format(call.method, input));
  }
  const at::Tensor output = empty_like_input(input, call.output_sizes(),
                                             at::MemoryFormat::Contiguous);
  const at::Tensor images = input.contiguous();
  const at::Tensor weights = call.weight.contiguous();
  const at::Tensor biases = call.bias ? call.bias->contiguous() : at::Tensor();
  AT_DISPATCH_FLOATING_TYPES(input.scalar_type(), "atrous_conv2d", [&] {
    with_memory_for_columns(call, shape, [&] {
      atrous_conv2d_cpu<scalar_t>(
          shape, images.const_data_ptr<scalar_t>(),
          weights.const_data_ptr<scalar_t>(),
          biases.defined() ? biases.const_data_ptr<scalar_t>() : nullptr,
          output.data_ptr<scalar_t>(), multiply_with_torch<scalar_t>);
    });
  });
  return output;
}

Gradients atrous_conv2d_backward_cpu_kernel(const Conv2dCall& call,
                                            const at::Tensor& grad,
                                            std::array<bool, 3> output_mask) {
  const at::Tensor& input = call.input;
  const at::Tensor& weight = call.weight;
  if (widens(call.method, input)) {
    auto [grad_input, grad_weight, grad_bias] =
        atrous_conv2d_backward_cpu_kernel(call.to(at::kFloat),
                                          grad.to(at::kFloat), output_mask);
    for (at::Tensor* each : {&grad_input, &grad_weight, &grad_bias}) {
      if (each->defined()) *each = each->to(input.scalar_type());
    }
    return {grad_input, grad_weight, grad_bias};
  }
  const Conv2dShape shape = call.shape();
  const ConvPath path = choose_path(call.method, input, shape, false);
  if (path == ConvPath::kInterlace) {
    return interlaced_conv2d_backward(call, grad, output_mask);
  }
  if (path != ConvPath::kIm2col) {
    return can_pack(call.method, input)
               ? packed_conv2d_backward(call, shape, grad, output_mask)
               : library_conv2d_backward(call, grad, output_mask);
  }
  const auto wanted = [&](bool is_wanted, at::IntArrayRef sizes) {
    return is_wanted ? at::empty(sizes, input.options()) : at::Tensor();
  };
  const at::Tensor grad_input = wanted(output_mask[0], input.sizes());
  const at::Tensor grad_weight = wanted(output_mask[1], weight.sizes());
  const at::Tensor grad_bias = wanted(output_mask[2], {shape.filters});
  const at::Tensor grads = grad.contiguous();
  const at::Tensor images = input.contiguous();
  const at::Tensor weights = weight.contiguous();
  AT_DISPATCH_FLOATING_TYPES(
      input.scalar_type(), "atrous_conv2d_backward", [&] {
        const auto data = [](const at::Tensor& tensor) {
          return tensor.defined() ? tensor.data_ptr<scalar_t>() : nullptr;
        };
        with_memory_for_columns(call, shape, [&] {
          atrous_conv2d_backward_cpu<scalar_t>(
              shape, grads.const_data_ptr<scalar_t>(),
              images.const_data_ptr<scalar_t>(),
              weights.const_data_ptr<scalar_t>(), data(grad_input),
              data(grad_weight), data(grad_bias),
              multiply_with_torch<scalar_t>);
        });
      });
  return {grad_input, grad_weight, grad_bias};
}

at::Tensor im2col_meta(const at::Tensor& input, SymIntArrayRef kernel,
                       SymIntArrayRef stride, SymIntArrayRef padding,
                       SymIntArrayRef dilation) {
  return columns_for(
      input, check_im2col("im2col", input, {kernel, stride, padding, dilation}),
      kernel);
}

at::Tensor col2im_meta(const at::Tensor& columns, SymIntArrayRef size,
                       SymIntArrayRef kernel, SymIntArrayRef stride,
                       SymIntArrayRef padding, SymIntArrayRef dilation) {
  check_col2im("col2im", columns, size, {kernel, stride, padding, dilation});
  return images_for(columns, size, kernel);
}

at::Tensor atrous_conv2d_meta(const Conv2dCall& call) {
  return empty_like_input(call.input, call.output_sizes(),
                          result_format(call.method, call.input));
}

Gradients atrous_conv2d_backward_meta(const Conv2dCall& call, const at::Tensor&,
                                      std::array<bool, 3> output_mask) {
  const auto like = [&](const at::Tensor& tensor) {
    return empty_like_input(call.input, tensor.sym_sizes(),
                            result_format(call.method, tensor));
  };
  return {output_mask[0] ? like(call.input) : at::Tensor(),
          output_mask[1] ? like(call.weight) : at::Tensor(),
          output_mask[2]
              ? empty_like_input(call.input, {call.weight.sym_size(0)},
                                 at::MemoryFormat::Contiguous)
              : at::Tensor()};
}

}  // namespace

TORCH_LIBRARY_IMPL(deeplab, CPU, m) {
  m.impl("im2col", &im2col_cpu_kernel);
  m.impl("col2im", &col2im_cpu_kernel);
  m.impl("atrous_conv2d", &conv2d_op<atrous_conv2d_cpu_kernel>);
  m.impl("atrous_conv2d_backward",
         &conv2d_backward_op<atrous_conv2d_backward_cpu_kernel>);
}

TORCH_LIBRARY_IMPL(deeplab, Meta, m) {
  m.impl("im2col", &im2col_meta);
  m.impl("col2im", &col2im_meta);
  m.impl("atrous_conv2d", &conv2d_op<atrous_conv2d_meta>);
  m.impl("atrous_conv2d_backward",
         &conv2d_backward_op<atrous_conv2d_backward_meta>);
}

}  // namespace deeplab
