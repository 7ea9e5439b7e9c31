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

at::Tensor pack_cuda_kernel(const at::Tensor& weight, SymInt groups,
                            c10::string_view method) {
  const ConvPath path =
      check_pack("atrous_conv2d_pack", weight, groups, method);
  const c10::cuda::CUDAGuard device(weight.device());
  return batched_weight(weight.to(compute_type(weight)), groups.expect_int(),
                        path);
}

at::Tensor packed_cuda_kernel(const Conv2dCall& call, const at::Tensor& packed,
                              ConvPath path) {
  const at::Tensor& input = call.input;
  const Conv2dShape shape = call.shape();
  TORCH_CHECK(fits_batched(shape), call.op,
              ": the convolution is too large for 32-bit indices; method "
              "'library' takes it");
  const c10::cuda::CUDAGuard device(input.device());
  const ProductPrecision precision;
  const at::Tensor weights =
      path == ConvPath::kDirect ? packed.to(input.scalar_type()) : packed;
  return batched_conv2d(path, shape, input, weights.contiguous(), call.bias,
                        call.relu)
      .contiguous(result_format(call.method, input));
}

}  // namespace

TORCH_LIBRARY_IMPL(deeplab, CUDA, m) {
  m.impl("atrous_conv2d_pack", &pack_cuda_kernel);
  m.impl("atrous_conv2d_packed", &conv2d_packed_op<packed_cuda_kernel>);
}

}  // namespace deeplab

#endif  // WITH_CUDA
