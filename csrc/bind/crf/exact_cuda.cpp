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

ExactResult run_cuda(const MeanfieldCall& call, double skip_below) {
  const c10::cuda::CUDAGuard guard(call.unary.device());
  const ExactRun run(call, skip_below);
  if (run.marginals.numel() == 0) {
    return {run.marginals, run.error_bound.zero_()};
  }
  // The compatibility's gain is a bound on the host.
  const at::Tensor host_matrix =
      call.compatibility
          ? call.compatibility->to(at::kCPU, at::kDouble).contiguous()
          : at::Tensor();
  const double gain = compatibility_gain(
      call.kind(),
      host_matrix.defined() ? host_matrix.const_data_ptr<double>() : nullptr,
      call.unary.size(1));
  auto* bounds = run.error_bound.mutable_data_ptr<double>();
  AT_DISPATCH_FLOATING_TYPES(call.unary.scalar_type(), kExactOp, [&] {
    for (int64_t image = 0; image < call.unary.size(0); ++image) {
      const auto problem = run.problem<scalar_t>(image);
      const at::Tensor workspace =
          cuda_bytes(exact_workspace_bytes(problem), call.unary);
      check_cuda(kExactOp,
                 meanfield_exact_cuda(
                     problem, gain, workspace.mutable_data_ptr(),
                     run.marginals[image].mutable_data_ptr<scalar_t>(),
                     bounds + image, c10::cuda::getCurrentCUDAStream()));
    }
  });
  return {run.marginals, run.error_bound};
}

}  // namespace
}  // namespace deeplab

TORCH_LIBRARY_IMPL(deeplab, CUDA, m) {
  m.impl("meanfield_exact", &deeplab::meanfield_exact_op<deeplab::run_cuda>);
}

#endif  // WITH_CUDA
