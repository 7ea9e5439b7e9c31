// meanfield_exact: checks, and the way to the launchers.
#include "csrc/cpu/exact.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <optional>
#include <tuple>
#include <vector>

#include "csrc/bind/meanfield_checks.h"
#ifdef WITH_CUDA
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "csrc/bind/cuda_check.h"
#include "csrc/cuda/exact.h"
#endif

namespace deeplab {
namespace {

constexpr const char* kOp = "meanfield_exact";

using ExactResult = std::tuple<at::Tensor, at::Tensor>;

void check_exact(const at::Tensor& unary, at::TensorList features,
                 at::ArrayRef<double> kernel_weights,
                 const std::optional<at::Tensor>& compatibility,
                 c10::string_view normalization, int64_t iterations,
                 double skip_below) {
  check_meanfield(kOp, unary, features, kernel_weights, compatibility,
                  normalization, iterations);
  TORCH_CHECK(skip_below >= 0 && skip_below < 1, kOp,
              ": skip_below must be in [0, 1), got ", skip_below);
}

// Contiguous copies of what the launchers read, and where they write.
struct Arguments {
  Arguments(const at::Tensor& unary_in, at::TensorList features_in,
            const std::optional<at::Tensor>& compatibility_in)
      : unary(unary_in.contiguous()),
        compatibility(made_contiguous(compatibility_in)),
        marginals(at::empty(unary.sizes(), unary.options())),
        error_bound(
            at::empty({unary.size(0)}, unary.options().dtype(at::kDouble))) {
    for (const at::Tensor& kernel : features_in) {
      features.push_back(kernel.contiguous());
    }
  }

  template <typename scalar_t>
  ExactProblem<scalar_t> problem(int64_t image,
                                 at::ArrayRef<double> kernel_weights,
                                 c10::string_view normalization,
                                 int64_t iterations, double skip_below) const {
    ExactProblem<scalar_t> problem{};
    problem.labels = unary.size(1);
    problem.points = unary.size(2);
    problem.unary = unary.const_data_ptr<scalar_t>() +
                    image * problem.labels * problem.points;
    for (const at::Tensor& kernel : features) {
      const int64_t which = kernel.size(0) > 1 ? image : 0;
      problem.features.push_back(kernel.const_data_ptr<scalar_t>() +
                                 which * kernel.size(1) * kernel.size(2));
      problem.dimensions.push_back(static_cast<int>(kernel.size(2)));
    }
    problem.weights = kernel_weights.vec();
    problem.kind = compatibility_kind(compatibility);
    problem.compatibility = compatibility.has_value()
                                ? compatibility->const_data_ptr<scalar_t>()
                                : nullptr;
    problem.normalization = parse_normalization(kOp, normalization);
    problem.iterations = static_cast<int>(iterations);
    problem.skip_below = skip_below;
    return problem;
  }

  at::Tensor unary;
  std::vector<at::Tensor> features;
  std::optional<at::Tensor> compatibility;
  at::Tensor marginals;
  at::Tensor error_bound;
};

ExactResult meanfield_exact_cpu_op(
    const at::Tensor& unary, at::TensorList features,
    at::ArrayRef<double> kernel_weights,
    const std::optional<at::Tensor>& compatibility,
    c10::string_view normalization, int64_t iterations, double skip_below) {
  check_exact(unary, features, kernel_weights, compatibility, normalization,
              iterations, skip_below);
  Arguments arguments(unary, features, compatibility);
  auto* bounds = arguments.error_bound.mutable_data_ptr<double>();
  AT_DISPATCH_FLOATING_TYPES(unary.scalar_type(), "meanfield_exact", [&] {
    for (int64_t image = 0; image < unary.size(0); ++image) {
      bounds[image] = meanfield_exact_cpu(
          arguments.problem<scalar_t>(image, kernel_weights, normalization,
                                      iterations, skip_below),
          arguments.marginals[image].mutable_data_ptr<scalar_t>());
    }
  });
  return {arguments.marginals, arguments.error_bound};
}

ExactResult meanfield_exact_meta_op(
    const at::Tensor& unary, at::TensorList features,
    at::ArrayRef<double> kernel_weights,
    const std::optional<at::Tensor>& compatibility,
    c10::string_view normalization, int64_t iterations, double skip_below) {
  check_exact(unary, features, kernel_weights, compatibility, normalization,
              iterations, skip_below);
  return {at::empty_symint(unary.sym_sizes(), unary.options()),
          at::empty_symint({unary.sym_size(0)},
                           unary.options().dtype(at::kDouble))};
}

#ifdef WITH_CUDA
ExactResult meanfield_exact_cuda_op(
    const at::Tensor& unary, at::TensorList features,
    at::ArrayRef<double> kernel_weights,
    const std::optional<at::Tensor>& compatibility,
    c10::string_view normalization, int64_t iterations, double skip_below) {
  check_exact(unary, features, kernel_weights, compatibility, normalization,
              iterations, skip_below);
  const c10::cuda::CUDAGuard guard(unary.device());
  Arguments arguments(unary, features, compatibility);
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
          at::empty({exact_workspace_size(problem)}, unary.options());
      check_cuda(kOp,
                 meanfield_exact_cuda(
                     problem, gain, workspace.mutable_data_ptr<scalar_t>(),
                     arguments.marginals[image].mutable_data_ptr<scalar_t>(),
                     bounds + image, c10::cuda::getCurrentCUDAStream()));
    }
  });
  return {arguments.marginals, arguments.error_bound};
}
#endif

}  // namespace
}  // namespace deeplab

TORCH_LIBRARY_IMPL(deeplab, CPU, m) {
  m.impl("meanfield_exact", &deeplab::meanfield_exact_cpu_op);
}

TORCH_LIBRARY_IMPL(deeplab, Meta, m) {
  m.impl("meanfield_exact", &deeplab::meanfield_exact_meta_op);
}

#ifdef WITH_CUDA
TORCH_LIBRARY_IMPL(deeplab, CUDA, m) {
  m.impl("meanfield_exact", &deeplab::meanfield_exact_cuda_op);
}
#endif
