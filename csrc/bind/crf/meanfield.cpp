// meanfield: checks, the plan of each image's kernels, and the way to the
// launcher.
#include "csrc/cpu/crf/meanfield.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <optional>
#include <string>
#include <vector>

#include "csrc/bind/crf/lattice.h"
#include "csrc/bind/crf/meanfield_checks.h"

namespace deeplab {
namespace {

template <typename scalar_t>
MeanfieldProblem<scalar_t> problem_of(
    const at::Tensor& unary, int64_t image, std::size_t kernels,
    at::ArrayRef<double> kernel_weights,
    const std::optional<at::Tensor>& compatibility,
    c10::string_view normalization, int64_t iterations) {
  const int64_t labels = unary.size(1);
  const int64_t points = unary.size(2);
  MeanfieldProblem<scalar_t> problem{};
  problem.unary = unary.const_data_ptr<scalar_t>() + image * labels * points;
  problem.unary_factor = unary.is_neg() ? scalar_t(-1) : scalar_t(1);
  problem.labels = labels;
  problem.points = points;
  problem.weights = weights_of(kernel_weights, kernels, image).vec();
  problem.kind = compatibility_kind(compatibility);
  problem.compatibility = compatibility.has_value()
                              ? compatibility->const_data_ptr<scalar_t>()
                              : nullptr;
  problem.normalization = parse_normalization("meanfield", normalization);
  problem.iterations = static_cast<int>(iterations);
  return problem;
}

// The plan of one image's features; `own` keeps contiguous copies alive.
template <typename scalar_t>
MeanfieldPlan<scalar_t> plan_of(at::TensorList features, int64_t image,
                                int64_t points) {
  std::vector<at::Tensor> own;
  std::vector<KernelFeatures<scalar_t>> kernels;
  for (const at::Tensor& kernel : features) {
    own.push_back(kernel[kernel.size(0) > 1 ? image : 0].contiguous());
    check_features("meanfield", own.back());
    check_entry_count("meanfield", points, own.back().size(1));
    kernels.push_back({own.back().const_data_ptr<scalar_t>(),
                       static_cast<int>(own.back().size(1))});
  }
  MeanfieldPlan<scalar_t> plan;
  if (!meanfield_plan(kernels, points, plan)) {
    refuse_features("meanfield");
  }
  return plan;
}

at::Tensor meanfield_cpu_op(const at::Tensor& unary, at::TensorList features,
                            at::ArrayRef<double> kernel_weights,
                            const std::optional<at::Tensor>& compatibility,
                            c10::string_view normalization, int64_t iterations,
                            c10::string_view storage) {
  check_meanfield_batch(unary, features, kernel_weights, compatibility,
                        normalization, iterations, storage);
  TORCH_CHECK(
      storage == "same",
      "meanfield: storage 'float16' is for CUDA; on the CPU pass 'same'");
  const at::Tensor energies = unary.contiguous();
  const auto kernels = resolved(features);
  const auto matrix = made_contiguous(compatibility);
  at::Tensor out = at::empty(energies.sizes(), energies.options());
  if (out.numel() == 0) return out;
  const int64_t points = energies.size(2);
  bool differ = false;
  for (const at::Tensor& kernel : kernels) differ |= kernel.size(0) > 1;
  AT_DISPATCH_FLOATING_TYPES(energies.scalar_type(), "meanfield", [&] {
    MeanfieldPlan<scalar_t> plan;
    for (int64_t image = 0; image < energies.size(0); ++image) {
      // The order of the points follows all kernels: a plan serves the images
      // that share every kernel's features.
      if (image == 0 || differ) {
        plan = plan_of<scalar_t>(kernels, image, points);
      }
      const MeanfieldProblem<scalar_t> problem =
          problem_of<scalar_t>(energies, image, kernels.size(), kernel_weights,
                               matrix, normalization, iterations);
      meanfield_cpu(problem, plan, out[image].mutable_data_ptr<scalar_t>());
    }
  });
  return out;
}

at::Tensor meanfield_meta_op(const at::Tensor& unary, at::TensorList features,
                             at::ArrayRef<double> kernel_weights,
                             const std::optional<at::Tensor>& compatibility,
                             c10::string_view normalization, int64_t iterations,
                             c10::string_view storage) {
  check_meanfield_batch(unary, features, kernel_weights, compatibility,
                        normalization, iterations, storage);
  return at::empty_symint(unary.sym_sizes(), unary.options());
}

}  // namespace
}  // namespace deeplab

TORCH_LIBRARY_IMPL(deeplab, CPU, m) {
  m.impl("meanfield", &deeplab::meanfield_cpu_op);
}

// The energies are minus the scores: a negative view of them saves a copy.
TORCH_LIBRARY_IMPL(deeplab, Negative, m) {
  m.impl("meanfield", torch::CppFunction::makeFallthrough());
}

TORCH_LIBRARY_IMPL(deeplab, Meta, m) {
  m.impl("meanfield", &deeplab::meanfield_meta_op);
}
