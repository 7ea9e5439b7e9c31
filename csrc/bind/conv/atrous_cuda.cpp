// CUDA registrations of im2col, col2im and atrous_conv2d.
#ifdef WITH_CUDA

#include "csrc/bind/conv/atrous_cuda.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>

#include "csrc/bind/checks.h"
#include "csrc/bind/conv/atrous.h"
#include "csrc/bind/conv/batched.h"
#include "csrc/bind/conv/for_each_index.h"
#include "csrc/bind/cuda_check.h"
#include "csrc/cuda/conv/im2col.h"

namespace deeplab {
namespace {

using c10::SymIntArrayRef;

// Bound of the column buffer where more than one image would fit it.
constexpr int64_t kColumnBytes = int64_t{256} << 20;

void im2col_into(const Window2d& window, int64_t planes,
                 const at::Tensor& images, const at::Tensor& columns) {
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, images.scalar_type(), "im2col", [&] {
        using T = typename CudaType<scalar_t>::Type;
        check_cuda(
            "im2col",
            im2col_cuda(
                window, planes,
                reinterpret_cast<const T*>(images.const_data_ptr<scalar_t>()),
                reinterpret_cast<T*>(columns.data_ptr<scalar_t>()),
                c10::cuda::getCurrentCUDAStream()));
      });
}

void col2im_into(const Window2d& window, int64_t planes,
                 const at::Tensor& columns, const at::Tensor& images) {
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, columns.scalar_type(), "col2im", [&] {
        using T = typename CudaType<scalar_t>::Type;
        check_cuda(
            "col2im",
            col2im_cuda(
                window, planes,
                reinterpret_cast<const T*>(columns.const_data_ptr<scalar_t>()),
                reinterpret_cast<T*>(images.data_ptr<scalar_t>()),
                c10::cuda::getCurrentCUDAStream()));
      });
}

at::Tensor im2col_cuda_kernel(const at::Tensor& input, SymIntArrayRef kernel,
                              SymIntArrayRef stride, SymIntArrayRef padding,
                              SymIntArrayRef dilation) {
  const WindowArguments arguments = {kernel, stride, padding, dilation};
  check_im2col("im2col", input, arguments);
  const c10::cuda::CUDAGuard device(input.device());
  const int64_t planes = input.size(0) * input.size(1);
  const Window2d window =
      make_window("im2col", planes, input.size(2), input.size(3), arguments);
  const at::Tensor columns = at::empty(
      {input.size(0), input.size(1) * window.taps(), window.output_size()},
      input.options());
  im2col_into(window, planes, input.contiguous(), columns);
  return columns;
}

at::Tensor col2im_cuda_kernel(const at::Tensor& columns, SymIntArrayRef size,
                              SymIntArrayRef kernel, SymIntArrayRef stride,
                              SymIntArrayRef padding, SymIntArrayRef dilation) {
  const WindowArguments arguments = {kernel, stride, padding, dilation};
  check_col2im("col2im", columns, size, arguments);
  const c10::cuda::CUDAGuard device(columns.device());
  const int64_t taps = kernel[0].expect_int() * kernel[1].expect_int();
  const int64_t planes = columns.size(0) * (columns.size(1) / taps);
  const Window2d window =
      make_window("col2im", planes, size[0], size[1], arguments);
  const at::Tensor images = at::empty(
      {columns.size(0), columns.size(1) / taps, window.h.input, window.w.input},
      columns.options());
  col2im_into(window, planes, columns.contiguous(), images);
  return images;
}

// Runs body(first image, count) over the batch, so that the columns of `count`
// images stay within kColumnBytes (one image always goes).
template <typename Body>
void for_each_chunk(const Conv2dShape& shape, int64_t item_size,
                    const Body& body) {
  const int64_t bytes = shape.columns_size() * item_size;
  // Batched products take one weight for all groups' images alike, but a
  // weight per group only image by image.
  const int64_t fitting =
      shape.groups == 1 ? std::max<int64_t>(kColumnBytes / bytes, 1) : 1;
  for (int64_t first = 0; first < shape.batch; first += fitting) {
    body(first, std::min(fitting, shape.batch - first));
  }
}

// [count * groups, rows / groups, length] view of `count` images of a
// contiguous [N, rows, ...] tensor.
at::Tensor group_view(const at::Tensor& tensor, const Conv2dShape& shape,
                      int64_t first, int64_t count, int64_t group_rows,
                      int64_t length) {
  return tensor.narrow(0, first, count)
      .view({count * shape.groups, group_rows, length});
}

// weight as [count * groups, filters / groups, rows], nothing copied.
at::Tensor weight_view(const at::Tensor& weight, const Conv2dShape& shape,
                       int64_t count) {
  const at::Tensor view =
      weight.view({shape.groups, shape.group_filters(), shape.group_rows()});
  return shape.groups == 1
             ? view.expand({count, shape.group_filters(), shape.group_rows()})
             : view;
}

// [count * groups, rows, length] columns of `count` images.
at::Tensor columns_of(const Conv2dShape& shape, const at::Tensor& images,
                      int64_t first, int64_t count) {
  const int64_t length = shape.window.output_size();
  if (shape.window.is_pointwise()) {
    return group_view(images, shape, first, count, shape.group_rows(), length);
  }
  const at::Tensor columns = at::empty(
      {count * shape.groups, shape.group_rows(), length}, images.options());
  im2col_into(shape.window, count * shape.channels,
              images.narrow(0, first, count), columns);
  return columns;
}

at::Tensor conv_by_im2col(const Conv2dShape& shape, const at::Tensor& images,
                          const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias) {
  const int64_t length = shape.window.output_size();
  const at::Tensor output =
      at::empty({shape.batch, shape.filters, shape.window.h.output,
                 shape.window.w.output},
                images.options());
  for_each_chunk(
      shape, images.element_size(), [&](int64_t first, int64_t count) {
        at::Tensor result = group_view(output, shape, first, count,
                                       shape.group_filters(), length);
        at::bmm_out(result, weight_view(weight, shape, count),
                    columns_of(shape, images, first, count));
      });
  if (bias) output.add_(bias->view({1, -1, 1, 1}));
  return output;
}

at::Tensor input_gradient(const Conv2dShape& shape, const at::Tensor& grad,
                          const at::Tensor& weight) {
  const int64_t length = shape.window.output_size();
  const at::Tensor result = at::empty(
      {shape.batch, shape.channels, shape.window.h.input, shape.window.w.input},
      grad.options());
  for_each_chunk(shape, grad.element_size(), [&](int64_t first, int64_t count) {
    const at::Tensor grads =
        group_view(grad, shape, first, count, shape.group_filters(), length);
    const at::Tensor weights = weight_view(weight, shape, count).mT();
    if (shape.window.is_pointwise()) {
      at::Tensor images =
          group_view(result, shape, first, count, shape.group_rows(), length);
      at::bmm_out(images, weights, grads);
    } else {
      col2im_into(shape.window, count * shape.channels, at::bmm(weights, grads),
                  result.narrow(0, first, count));
    }
  });
  return result;
}

// Images are summed in float32 at least, and one after the other: the same
// order whatever the chunk.
at::Tensor weight_gradient(const Conv2dShape& shape, const at::Tensor& grad,
                           const at::Tensor& images, at::IntArrayRef sizes) {
  const int64_t length = shape.window.output_size();
  const bool reduced = images.scalar_type() == at::kHalf ||
                       images.scalar_type() == at::kBFloat16;
  const at::Tensor sum = at::zeros(
      {shape.groups, shape.group_filters(), shape.group_rows()},
      images.options().dtype(reduced ? at::kFloat : images.scalar_type()));
  for_each_chunk(
      shape, images.element_size(), [&](int64_t first, int64_t count) {
        const at::Tensor columns = columns_of(shape, images, first, count);
        for (int64_t i = 0; i < count; ++i) {
          const at::Tensor grads = group_view(grad, shape, first + i, 1,
                                              shape.group_filters(), length);
          const at::Tensor samples =
              columns.narrow(0, i * shape.groups, shape.groups).mT();
          if (reduced) {
            sum.add_(at::bmm(grads, samples));
          } else {
            sum.baddbmm_(grads, samples);
          }
        }
      });
  return sum.to(images.scalar_type()).view(sizes);
}

at::Tensor atrous_conv2d_cuda_kernel(const Conv2dCall& call) {
  const at::Tensor& input = call.input;
  const c10::cuda::CUDAGuard device(input.device());
  const Conv2dShape shape = call.shape();
  const ConvPath path = choose_path(call.method, input, shape, false);
  if (path == ConvPath::kInterlace) return interlaced_conv2d(call);
  if (path == ConvPath::kLibrary) return library_conv2d(call);
  const ProductPrecision precision;
  if (path == ConvPath::kIm2col) {
    return conv_by_im2col(shape, input.contiguous(), call.weight.contiguous(),
                          call.bias);
  }
  return batched_conv2d(path, shape, input,
                        batched_weight(call.weight, shape.groups, path),
                        call.bias, false)
      .contiguous(result_format(call.method, input));
}

Gradients atrous_conv2d_backward_cuda_kernel(const Conv2dCall& call,
                                             const at::Tensor& grad,
                                             std::array<bool, 3> output_mask) {
  const at::Tensor& input = call.input;
  const at::Tensor& weight = call.weight;
  const c10::cuda::CUDAGuard device(input.device());
  const Conv2dShape shape = call.shape();
  const ConvPath path = choose_path(call.method, input, shape, false);
  if (path == ConvPath::kInterlace) {
    return interlaced_conv2d_backward(call, grad, output_mask);
  }
  const ProductPrecision precision;
  if (path != ConvPath::kIm2col) {
    const ConvPath input_path =
        shape.window.h.stride == 1 && shape.window.w.stride == 1
            ? choose_cuda_path(call.method, grad, mirrored_shape(shape), false,
                               false)
            : ConvPath::kLibrary;
    return batched_conv2d_backward(
        call, shape, grad, input_path,
        makes_weight_gradient(call.method, input, shape), output_mask);
  }
  const at::Tensor grads = grad.contiguous();
  Gradients result;
  if (output_mask[0]) {
    std::get<0>(result) = input_gradient(shape, grads, weight.contiguous());
  }
  if (output_mask[1]) {
    std::get<1>(result) =
        weight_gradient(shape, grads, input.contiguous(), weight.sizes());
  }
  if (output_mask[2]) std::get<2>(result) = grads.sum({0, 2, 3});
  return result;
}

}  // namespace

TORCH_LIBRARY_IMPL(deeplab, CUDA, m) {
  m.impl("im2col", &im2col_cuda_kernel);
  m.impl("col2im", &col2im_cuda_kernel);
  m.impl("atrous_conv2d", &conv2d_op<atrous_conv2d_cuda_kernel>);
  m.impl("atrous_conv2d_backward",
         &conv2d_backward_op<atrous_conv2d_backward_cuda_kernel>);
}

}  // namespace deeplab

#endif  // WITH_CUDA
