// meanfield_exact on CUDA.
#ifdef WITH_CUDA

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "csrc/bind/crf/exact.h"
#include "csrc/bind/crf/lattice_cuda.h"
#include "csrc/bind/cuda_check.h"
#include "csrc/cuda/crf/exact.h"

namespace deeplab {
namespace {

ExactResult meanfield_exact_cuda_op(
    const at::Tensor& unary, at::TensorList features,
    at::ArrayRef<double> kernel_weights,
    const std::optional<at::Tensor>& compatibility,
    c10::string_view normalization, int64_t iterations, double skip_below) {
  check_exact(unary, features, kernel_weights, compatibility, normalization,
              iterations, skip_below);
  const c10::cuda::CUDAGuard guard(unary.device());
  ExactArguments arguments(unary, features, compatibility);
  if (arguments.marginals.numel() == 0) {
    return {arguments.marginals, arguments.error_bound.zero_()};
  }
  // The compatibility's gain is a bound on the host.
  const auto host_matrix =
      arguments.compatibility.has_value()
          ? std::optional<at::Tensor>(
                arguments.compatibility->to(at::kCPU, at::kDouble))
          : std::nullopt;
  const double gain = compatibility_gain(
      compatibility_kind(host_matrix),
      host_matrix.has_value() ? host_matrix->const_data_ptr<double>() : nullptr,
      unary.size(1));
  auto* bounds = arguments.error_bound.mutable_data_ptr<double>();
  AT_DISPATCH_FLOATING_TYPES(unary.scalar_type(), "meanfield_exact", [&] {
    for (int64_t image = 0; image < unary.size(0); ++image) {
      const auto problem = arguments.problem<scalar_t>(
          image, kernel_weights, normalization, iterations, skip_below);
      const at::Tensor workspace =
          cuda_bytes(exact_workspace_bytes(problem), unary);
      check_cuda(kExactOp,
                 meanfield_exact_cuda(
                     problem, gain, workspace.mutable_data_ptr(),
                     arguments.marginals[image].mutable_data_ptr<scalar_t>(),
                     bounds + image, c10::cuda::getCurrentCUDAStream()));
    }
  });
  return {arguments.marginals, arguments.error_bound};
}

}  // namespace
}  // namespace deeplab

TORCH_LIBRARY_IMPL(deeplab, CUDA, m) {
  m.impl("meanfield_exact", &deeplab::meanfield_exact_cuda_op);
}

#endif  // WITH_CUDA
