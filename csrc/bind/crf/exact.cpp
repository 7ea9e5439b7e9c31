// meanfield_exact: checks, and the way to the launchers.
#include "csrc/cpu/crf/exact.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "csrc/bind/crf/exact.h"

namespace deeplab {
namespace {

ExactResult meanfield_exact_cpu_op(
    const at::Tensor& unary, at::TensorList features,
    at::ArrayRef<double> kernel_weights,
    const std::optional<at::Tensor>& compatibility,
    c10::string_view normalization, int64_t iterations, double skip_below) {
  check_exact(unary, features, kernel_weights, compatibility, normalization,
              iterations, skip_below);
  ExactArguments arguments(unary, features, compatibility);
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

}  // namespace
}  // namespace deeplab

TORCH_LIBRARY_IMPL(deeplab, CPU, m) {
  m.impl("meanfield_exact", &deeplab::meanfield_exact_cpu_op);
}

TORCH_LIBRARY_IMPL(deeplab, Meta, m) {
  m.impl("meanfield_exact", &deeplab::meanfield_exact_meta_op);
}
