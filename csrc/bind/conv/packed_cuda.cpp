// CUDA registrations of the ops for packed weights.
#ifdef WITH_CUDA

#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

#include "csrc/bind/checks.h"
#include "csrc/bind/conv/atrous.h"
#include "csrc/bind/conv/atrous_cuda.h"
#include "csrc/bind/conv/batched.h"

namespace deeplab {
namespace {

using c10::SymInt;
using c10::SymIntArrayRef;

at::Tensor pack_cuda_kernel(const at::Tensor& weight, SymInt groups,
                            c10::string_view method) {
  const ConvPath path =
      check_pack("atrous_conv2d_pack", weight, groups, method);
  const c10::cuda::CUDAGuard device(weight.device());
  return batched_weight(weight.to(compute_type(weight)), groups.expect_int(),
                        path);
}

at::Tensor packed_cuda_kernel(const at::Tensor& input, const at::Tensor& weight,
                              const at::Tensor& packed,
                              const std::optional<at::Tensor>& bias,
                              SymIntArrayRef stride, SymIntArrayRef padding,
                              SymIntArrayRef dilation, SymInt groups,
                              c10::string_view method, bool relu) {
  const ConvArguments arguments = {"atrous_conv2d_packed",
                                   input,
                                   weight,
                                   stride,
                                   padding,
                                   dilation,
                                   groups,
                                   method};
  const CheckedConv checked = check_conv(arguments);
  check_bias(arguments, bias);
  const ConvPath path = check_packed(arguments, packed);
  const Conv2dShape shape = make_shape(arguments);
  TORCH_CHECK(fits_batched(shape), arguments.op,
              ": the convolution is too large for 32-bit indices; method "
              "'library' takes it");
  const c10::cuda::CUDAGuard device(input.device());
  const ProductPrecision precision;
  const at::Tensor weights =
      path == ConvPath::kDirect ? packed.to(input.scalar_type()) : packed;
  return batched_conv2d(path, shape, input, weights.contiguous(), bias, relu)
      .contiguous(result_format(checked.method, input));
}

}  // namespace

TORCH_LIBRARY_IMPL(deeplab, CUDA, m) {
  m.impl("atrous_conv2d_pack", &pack_cuda_kernel);
  m.impl("atrous_conv2d_packed", &packed_cuda_kernel);
}

}  // namespace deeplab

#endif  // WITH_CUDA
